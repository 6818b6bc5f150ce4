"""Statements with proofs: the crate's vectors, and new ones where the crate is installed."""

import functools
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "prover" / "vectors"


@dataclass(frozen=True)
class Honest:
    """Everything that both verifiers take, and proofs that they should accept."""

    shape: tuple[tuple[int, ...], tuple[int, ...], int]
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


Maker = Callable[[Any], Honest]


def _read(vector: dict[str, Any]) -> Honest:
    return Honest(
        shape=(tuple(vector["dims"]), tuple(vector["shifts"]), vector["bias_bits"]),
        count=vector["count"],
        wellformed=bytes.fromhex(vector["wellformed"]),
        accuracy=bytes.fromhex(vector["proof"]),
        **{
            name: bytes.fromhex(vector[name])
            for name in ("commitment", "inputs", "labels", "context")
        },
    )


@pytest.fixture(scope="session")
def read_honest() -> Maker:
    """Reads one of the crate's vectors."""
    return _read


@pytest.fixture(scope="session")
def honest() -> Honest:
    """The proofs that tests of refusals spoil: two layers, true padding in every dim."""
    return _read(json.loads((VECTORS / "two-layers.json").read_text()))


@pytest.fixture(scope="session")
def one_weight() -> Honest:
    """The smallest statement."""
    return _read(json.loads((VECTORS / "one-weight.json").read_text()))


@pytest.fixture(scope="session")
def full_row() -> Honest:
    """One layer, with as many samples as a row has columns."""
    return _read(json.loads((VECTORS / "full-row.json").read_text()))


@pytest.fixture(scope="session")
def make_honest() -> Callable[..., Honest]:
    """Makes proofs from dims, shifts, bias bits and batch size, once per session."""
    native = pytest.importorskip("zkpot_prover")

    @functools.cache
    def make(
        dims: tuple[int, ...], shifts: tuple[int, ...], bias_bits: int, samples: int
    ) -> Honest:
        random_ = random.Random(repr((dims, shifts, bias_bits, samples)))
        shape = native.Shape(list(dims), list(shifts), bias_bits)
        theta = _theta(dims, bias_bits, random_)
        blinding = native.random_blinding(shape)
        inputs = random_.randbytes(samples * dims[0])
        labels = bytes(random_.randrange(dims[-1]) for _ in range(samples))
        context = random_.randbytes(32)
        count, accuracy = native.prove(shape, theta, blinding, inputs, labels, context)
        return Honest(
            shape=(dims, shifts, bias_bits),
            commitment=native.commit(shape, theta, blinding),
            inputs=inputs,
            labels=labels,
            context=context,
            count=count,
            wellformed=native.prove_wellformed(shape, theta, blinding, context),
            accuracy=accuracy,
        )

    return make


def _theta(dims: tuple[int, ...], bias_bits: int, random_: random.Random) -> bytes:
    numbers: list[int] = []
    for inputs, outputs in pairwise(dims):
        numbers += [random_.randint(-128, 127) for _ in range(inputs * outputs)]
        numbers += [random_.randrange(-(2**bias_bits), 2**bias_bits) for _ in range(outputs)]
    return struct.pack(f"<{len(numbers)}i", *numbers)
