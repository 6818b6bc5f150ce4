"""The test pool, the draw of a batch from it, and the reveal of what was drawn.

The pool's root stands in the task, so its publisher cannot swap samples; each leaf has a
salt of its own, so samples that were not revealed cannot be guessed. The beacon picks N
indices that were never drawn before. Drawn indices are spent, whatever becomes of the round.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np

from zkpot import merkle
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Digest, digest
from zkpot.model import INPUT_MAX, MAX_CLASSES, Shape, UInt8Array
from zkpot.wire.codec import Exactly, Max, Span, decode, encode

SALT_BYTES = 32
MAX_BATCH = 10_000
MAX_POOL = 1 << 24
MAX_REVEAL_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class Batch:
    """Labelled samples: `inputs` uint8 [N, features], `labels` uint8 [N]."""

    inputs: UInt8Array
    labels: UInt8Array

    @property
    def size(self) -> int:
        """N."""
        return len(self.labels)

    @cached_property
    def digest(self) -> Digest:
        """Names exactly these samples in this order."""
        rows, columns = self.inputs.shape
        header = rows.to_bytes(8, "big") + columns.to_bytes(8, "big")
        return digest("batch", header, self.inputs.tobytes(), self.labels.tobytes())


@dataclass(frozen=True)
class Sample:
    """One sample of the pool, with the salt that hides its leaf."""

    index: Annotated[int, Span(0, MAX_POOL)]
    salt: Annotated[bytes, Exactly(SALT_BYTES)]
    inputs: Annotated[bytes, Max(1 << 16)]
    label: Annotated[int, Span(0, MAX_CLASSES - 1)]

    @property
    def leaf(self) -> Digest:
        """The pool's leaf for this sample."""
        return digest(
            "pool-leaf",
            self.index.to_bytes(8, "big"),
            self.salt,
            self.inputs,
            self.label.to_bytes(2, "big"),
        )


@dataclass(frozen=True)
class RevealedSample:
    """A sample and the path from its leaf to the pool's root."""

    sample: Sample
    path: Annotated[tuple[Digest, ...], Max(merkle.MAX_PATH)]


@dataclass(frozen=True)
class Reveal:
    """The object the publisher reveals after the draw, in the order of the draw."""

    samples: Annotated[tuple[RevealedSample, ...], Max(MAX_BATCH)]


def draw(beacon: Beacon, pool_size: int, batch_size: int, spent: Collection[int]) -> list[int]:
    """The `batch_size` indices this beacon selects: those with the lowest hash, in its order.

    Raises `Rejected` with POOL_EXHAUSTED if fewer than `batch_size` are left.
    """
    left = sorted(set(range(pool_size)) - set(spent))
    if len(left) < batch_size:
        raise Rejected(
            Reason.POOL_EXHAUSTED, f"{len(left)} samples left, the batch needs {batch_size}"
        )
    return sorted(left, key=lambda index: digest("draw", beacon, index.to_bytes(8, "big")))[
        :batch_size
    ]


def make_reveal(pool: Sequence[Sample], indices: Sequence[int]) -> bytes:
    """The encoded reveal of `indices`; `pool[i].index` must be i."""
    all_paths = merkle.paths([sample.leaf for sample in pool])
    return encode(Reveal(tuple(RevealedSample(pool[i], all_paths[i]) for i in indices)))


def check_reveal(
    data: bytes, shape: Shape, pool_root: Digest, pool_size: int, indices: Sequence[int]
) -> Batch:
    """Reads a reveal; raises `Rejected` unless it is exactly the samples that were drawn."""
    reveal = decode(Reveal, data, limit=MAX_REVEAL_BYTES)
    found = [revealed.sample.index for revealed in reveal.samples]
    if found != list(indices):
        raise Rejected(Reason.DRAW_MISMATCH, "the revealed indices are not those drawn")
    for revealed in reveal.samples:
        sample = revealed.sample
        if len(sample.inputs) != shape.features or sample.label >= shape.classes:
            raise Rejected(Reason.REVEAL_INVALID, f"sample {sample.index} does not fit the shape")
        merkle.check_path(pool_root, sample.leaf, sample.index, pool_size, revealed.path)
    return batch_of([revealed.sample for revealed in reveal.samples])


def batch_of(samples: Sequence[Sample]) -> Batch:
    """The samples as arrays, in their order."""
    inputs = np.frombuffer(b"".join(sample.inputs for sample in samples), dtype=np.uint8)
    labels = np.array([sample.label for sample in samples], dtype=np.uint8)
    return Batch(inputs.reshape(len(samples), -1), labels)


def make_pool(inputs: UInt8Array, labels: UInt8Array, salts: Sequence[bytes]) -> list[Sample]:
    """Samples [M, features] with their labels and one fresh random salt each."""
    if inputs.max(initial=0) > INPUT_MAX:
        raise ValueError("inputs are bytes")
    return [
        Sample(index, salt, row.tobytes(), int(label))
        for index, (row, label, salt) in enumerate(zip(inputs, labels, salts, strict=True))
    ]
