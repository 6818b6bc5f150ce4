"""Numbers that ezkl takes and gives: field elements, and points of BN254's first group.

Field elements travel to ezkl as 32 bytes little-endian in hex. Points are 64 bytes, x then
y big-endian, as halo2's EVM transcript writes them; only this form is accepted, and the
group has prime order, so a point on the curve is in the group. The identity has no form.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from zkpot.errors import Reason, Rejected
from zkpot.proof.ezkl.engine import optional_module

SCALAR_MODULUS = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
BASE_MODULUS = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
CURVE_B = 3

SCALAR_BYTES = 32
POINT_BYTES = 64

Point: TypeAlias = tuple[int, int]
"""Affine coordinates of a point other than the identity."""


def felt(value: int) -> str:
    """`value` modulo the scalar field, as ezkl reads it."""
    return (value % SCALAR_MODULUS).to_bytes(SCALAR_BYTES, "little").hex()


def felts(values: Iterable[int] | np.ndarray[Any, Any]) -> list[str]:
    """`felt` of each element, arrays in row order."""
    flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
    return [felt(value) for value in flat]


def read_scalars(data: bytes) -> list[int]:
    """Canonical little-endian field elements; raises ValueError for anything else."""
    if len(data) % SCALAR_BYTES:
        raise ValueError(f"{len(data)} bytes are not whole field elements")
    values = [
        int.from_bytes(data[start : start + SCALAR_BYTES], "little")
        for start in range(0, len(data), SCALAR_BYTES)
    ]
    if any(value >= SCALAR_MODULUS for value in values):
        raise ValueError("a field element is not reduced")
    return values


def write_scalars(values: Iterable[int]) -> bytes:
    """Inverse of `read_scalars`; values are reduced first."""
    return b"".join((value % SCALAR_MODULUS).to_bytes(SCALAR_BYTES, "little") for value in values)


def read_point(data: bytes, reason: Reason, name: str) -> Point:
    """The point in `data`; raises `Rejected` with `reason` unless it is canonical."""
    if len(data) != POINT_BYTES:
        raise Rejected(reason, f"{name}: {len(data)} bytes, expected {POINT_BYTES}")
    x, y = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")
    if x >= BASE_MODULUS or y >= BASE_MODULUS:
        raise Rejected(reason, f"{name}: a coordinate is not reduced")
    if (y * y - x * x * x - CURVE_B) % BASE_MODULUS:
        raise Rejected(reason, f"{name}: not on the curve")
    return x, y


def write_point(point: Point) -> bytes:
    """Inverse of `read_point`."""
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def weighted_sum(points: Sequence[Point], weights: Sequence[int]) -> Point:
    """Sum of weights[i]·points[i]; weights may be negative.

    Raises ValueError if the sum is the identity.
    """
    curve = optional_module("py_ecc.optimized_bn128")
    total = curve.Z1
    for (x, y), weight in zip(points, weights, strict=True):
        base = (curve.FQ(x), curve.FQ(y), curve.FQ(1))
        total = curve.add(total, curve.multiply(base, weight % SCALAR_MODULUS))
    if curve.is_inf(total):
        raise ValueError("the sum is the identity")
    x, y = curve.normalize(total)
    return int(x), int(y)
