"""Honest proofs of small odd models, made by the native library where it is installed."""

import functools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest


@dataclass(frozen=True)
class Case:
    """A shape and a batch size."""

    dims: tuple[int, ...]
    shifts: tuple[int, ...]
    bias_bits: int
    samples: int

    @property
    def shape(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        return self.dims, self.shifts, self.bias_bits


@dataclass(frozen=True)
class Honest:
    """Everything that both verifiers take, and proofs that they should accept."""

    case: Case
    commitment: bytes
    inputs: bytes
    labels: bytes
    context: bytes
    count: int
    wellformed: bytes
    accuracy: bytes

    @property
    def wellformed_arguments(self) -> dict[str, Any]:
        """What `verify_wellformed` takes after the shape."""
        return {
            "commitment": self.commitment,
            "context": self.context,
            "proof": self.wellformed,
        }

    @property
    def accuracy_arguments(self) -> dict[str, Any]:
        """What `verify` takes after the shape."""
        return {
            "commitment": self.commitment,
            "inputs": self.inputs,
            "labels": self.labels,
            "context": self.context,
            "count": self.count,
            "proof": self.accuracy,
        }


Maker = Callable[..., Honest]


@pytest.fixture(scope="session")
def make_honest() -> Maker:
    """Makes the proofs of a `Case`, once per session."""
    native = pytest.importorskip("zkpot_prover")

    @functools.cache
    def make(*arguments: Any) -> Honest:
        case = Case(*arguments)
        random_ = random.Random(repr(case))
        shape = native.Shape(list(case.dims), list(case.shifts), case.bias_bits)
        theta = _theta(case, random_)
        blinding = native.random_blinding(shape)
        inputs = random_.randbytes(case.samples * case.dims[0])
        labels = bytes(random_.randrange(case.dims[-1]) for _ in range(case.samples))
        context = random_.randbytes(32)
        count, accuracy = native.prove(shape, theta, blinding, inputs, labels, context)
        return Honest(
            case=case,
            commitment=native.commit(shape, theta, blinding),
            inputs=inputs,
            labels=labels,
            context=context,
            count=count,
            wellformed=native.prove_wellformed(shape, theta, blinding, context),
            accuracy=accuracy,
        )

    return make


@pytest.fixture(scope="session")
def honest(make_honest: Maker) -> Honest:
    """The proofs that tests of refusals spoil: two layers, true padding in every dim."""
    return make_honest((5, 3, 3), (3,), 5, 7)


def _theta(case: Case, random_: random.Random) -> bytes:
    numbers: list[int] = []
    for inputs, outputs in pairwise(case.dims):
        numbers += [random_.randint(-128, 127) for _ in range(inputs * outputs)]
        bound = 2**case.bias_bits
        numbers += [random_.randrange(-bound, bound) for _ in range(outputs)]
    return struct.pack(f"<{len(numbers)}i", *numbers)
