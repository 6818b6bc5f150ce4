"""The global model: a sum of committed models and its weight, and the mean it stands for.

The mean stays a fixed-point value: the sum and the total weight K. Devices start local
training from sum / K in float; gate, export and audit use the integer model
round-half-even(sum / K). Both are exact functions of the record.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array, Shape
from zkpot.wire.codec import Max, Span, decode, encode

MAX_TOTAL_WEIGHT = 1 << 24
MAX_MODEL_BYTES = 64 * 1024 * 1024
MAX_BLINDING_BYTES = 128 * 1024

SUM_LIMIT = 1 << 31
"""Sums stay below 2^31 in magnitude, so that sums modulo 2^32 are exact."""


@dataclass(frozen=True)
class GlobalModelObject:
    """The wire form: theta's sum as int32 little-endian, and the total weight."""

    theta_sum: Annotated[bytes, Max(MAX_MODEL_BYTES)]
    weight: Annotated[int, Span(1, MAX_TOTAL_WEIGHT)]


@dataclass(frozen=True, eq=False)
class GlobalModel:
    """Sum of theta over the accepted devices (int64 [P]) and their total weight."""

    theta_sum: Int64Array
    weight: int

    @property
    def mean(self) -> NDArray[np.float64]:
        """Where local training starts from, float64 [P]."""
        return np.asarray(self.theta_sum / self.weight, dtype=np.float64)

    @property
    def theta(self) -> Int64Array:
        """The integer model, int64 [P]: round-half-even(sum / weight), exact."""
        quotient, remainder = np.divmod(self.theta_sum, self.weight)
        twice = 2 * remainder
        up = (twice > self.weight) | ((twice == self.weight) & (quotient % 2 == 1))
        return np.asarray(quotient + up, dtype=np.int64)

    def encode(self) -> bytes:
        """The object devices fetch by CID."""
        if np.abs(self.theta_sum).max(initial=0) >= SUM_LIMIT:
            raise Rejected(Reason.OUT_OF_RANGE, "a sum reaches 2^31")
        return encode(GlobalModelObject(self.theta_sum.astype("<i4").tobytes(), self.weight))


def decode_global_model(shape: Shape, data: bytes) -> GlobalModel:
    """Reads a global model object; raises `Rejected` if it does not fit `shape`."""
    item = decode(GlobalModelObject, data, limit=MAX_MODEL_BYTES)
    if len(item.theta_sum) != 4 * shape.parameters:
        raise Rejected(
            Reason.MODEL_MISMATCH,
            f"{len(item.theta_sum) // 4} parameters, the shape has {shape.parameters}",
        )
    return GlobalModel(np.frombuffer(item.theta_sum, "<i4").astype(np.int64), item.weight)
