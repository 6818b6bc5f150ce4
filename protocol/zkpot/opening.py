"""The bytes of a model opening: on the device's disk, and sealed to the aggregator."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from zkpot.errors import Reason, Rejected
from zkpot.keys import SEAL_BYTES
from zkpot.model import Shape
from zkpot.proof.system import ModelOpening
from zkpot.wire.codec import Max, decode, encode

MAX_OPENING_BYTES = 64 * 1024 * 1024
MAX_OPENING_BLINDING_BYTES = 1 << 20

_FRAME_BYTES = 64
"""What CBOR puts around the two fields, at most."""


@dataclass(frozen=True)
class _OpeningObject:
    """theta as int32 little-endian, and the proof system's blinding."""

    theta: Annotated[bytes, Max(MAX_OPENING_BYTES)]
    blinding: Annotated[bytes, Max(MAX_OPENING_BLINDING_BYTES)]


def encode_opening(opening: ModelOpening) -> bytes:
    """Secret: for sealed boxes and the device's own journal only."""
    return encode(_OpeningObject(opening.theta.astype("<i4").tobytes(), opening.blinding))


def max_sealed_bytes(shape: Shape) -> int:
    """No sealed box with an opening of a model of this shape is larger."""
    return 4 * shape.parameters + MAX_OPENING_BLINDING_BYTES + _FRAME_BYTES + SEAL_BYTES


def decode_opening(shape: Shape, data: bytes) -> ModelOpening:
    """Reads an opening; raises `Rejected` (OPENING_INVALID) if it does not fit `shape`."""
    try:
        item = decode(_OpeningObject, data, limit=MAX_OPENING_BYTES + MAX_OPENING_BLINDING_BYTES)
    except Rejected as rejection:
        raise Rejected(Reason.OPENING_INVALID, "not an opening") from rejection
    if len(item.theta) != 4 * shape.parameters:
        raise Rejected(Reason.OPENING_INVALID, f"{len(item.theta) // 4} parameters")
    return ModelOpening(np.frombuffer(item.theta, "<i4").astype(np.int64), item.blinding)
