"""Owners of models, with honest proofs to attack.

Skips the tests that import it where the native prover is not installed; not in CI.
"""

import os
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import pytest

try:
    import zkpot_prover as native
except ModuleNotFoundError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("zkpot_prover is not installed: nothing to attack", allow_module_level=True)


@dataclass(frozen=True)
class Owner:
    """A model, its commitment and both proofs about it."""

    shape: native.Shape
    theta: bytes
    blinding: bytes
    inputs: bytes
    labels: bytes
    context: bytes
    commitment: bytes
    count: int
    accuracy: bytes
    wellformed: bytes

    @classmethod
    def make(cls, dims: list[int], shifts: list[int], samples: int, seed: int) -> Self:
        """A random model of 8 bias bits on a random batch."""
        source = random.Random(seed)
        shape = native.Shape(dims, shifts, 8)
        theta = b"".join(
            source.randrange(-128, 128).to_bytes(4, "little", signed=True)
            for before, width in pairwise(dims)
            for _ in range(before * width + width)
        )
        blinding = native.random_blinding(shape)
        inputs = source.randbytes(samples * dims[0])
        labels = bytes(source.randrange(dims[-1]) for _ in range(samples))
        context = source.randbytes(32)
        count, accuracy = native.prove(shape, theta, blinding, inputs, labels, context)
        return cls(
            shape=shape,
            theta=theta,
            blinding=blinding,
            inputs=inputs,
            labels=labels,
            context=context,
            commitment=native.commit(shape, theta, blinding),
            count=count,
            accuracy=accuracy,
            wellformed=native.prove_wellformed(shape, theta, blinding, context),
        )

    @property
    def item(self) -> tuple[bytes, bytes, int, bytes]:
        """What `verify_many` takes."""
        return self.commitment, self.context, self.count, self.accuracy

    def verify(self, **changes: object) -> None:
        """Verifies the accuracy proof, with other values for some of the fields."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        native.verify(
            changed.shape,
            changed.commitment,
            changed.inputs,
            changed.labels,
            changed.context,
            changed.count,
            changed.accuracy,
        )

    def verify_wellformed(self, **changes: object) -> None:
        """Verifies the well-formedness proof, with other values for some of the fields."""
        changed = replace(self, **changes)  # type: ignore[arg-type]
        native.verify_wellformed(
            changed.shape, changed.commitment, changed.context, changed.wellformed
        )
