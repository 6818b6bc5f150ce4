"""Arithmetic modulo the group order, and multilinear extensions over the hypercube.

Section 2 of `docs/proof-system.md`: the first coordinate of a point belongs to the most
significant bit of an index.
"""

from collections.abc import Iterable, Iterator, Sequence
from operator import mul

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of ristretto255, a prime (RFC 9496, section 4)."""


def ceil_log(value: int) -> int:
    """The smallest e >= 0 with 2^e >= value."""
    return (value - 1).bit_length()


def inverse(value: int) -> int:
    """1 / value modulo `ORDER`; 0 for 0."""
    return pow(value, -1, ORDER) if value % ORDER else 0


def dot(left: Iterable[int], right: Iterable[int]) -> int:
    """The inner product, over the shorter of the two."""
    total: int = sum(map(mul, left, right))
    return total % ORDER


def eq_table(point: Sequence[int]) -> list[int]:
    """eq(point): the weight of every index in a multilinear extension at `point`."""
    table = [1]
    for coordinate in point:
        table = [
            half
            for weight in table
            for high in (weight * coordinate % ORDER,)
            for half in ((weight - high) % ORDER, high)
        ]
    return table


def eq_at(left: Sequence[int], right: Sequence[int]) -> int:
    """The inner product of eq(left) and eq(right), for points of equal length."""
    product = 1
    for a, b in zip(left, right, strict=True):
        product = product * (a * b + (1 - a) * (1 - b)) % ORDER
    return product


def prefix(point: Sequence[int], count: int) -> int:
    """pre(point, count): the sum of the first `count` weights of eq(point)."""
    return sum(eq_table(point)[:count]) % ORDER


def powers(base: int) -> Iterator[int]:
    """1, base, base^2, ... without end."""
    power = 1
    while True:
        yield power
        power = power * base % ORDER
