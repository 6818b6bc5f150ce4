"""Sums of many points with scalars, by Pippenger's bucket method.

See Bernstein, Doumen, Lange and Oosterwijk, "Faster batch forgery identification" (2012),
section 4.
"""

from collections.abc import Iterable

from zkpot_aggregator.independent.edwards import IDENTITY, Point, add, double
from zkpot_aggregator.independent.multilinear import ORDER

_SCALAR_BITS = ORDER.bit_length()


def multiscalar(terms: Iterable[tuple[int, Point]]) -> Point:
    """The sum of scalar * point; scalars are any integers and count modulo `ORDER`."""
    pairs = [(scalar % ORDER, point) for scalar, point in terms]
    width = min(
        range(1, 17), key=lambda bits: -(-_SCALAR_BITS // bits) * (len(pairs) + (2 << bits))
    )
    total = IDENTITY
    for position in range(_SCALAR_BITS // width * width, -1, -width):
        for _ in range(width):
            total = double(total)
        total = add(total, _window(pairs, position, (1 << width) - 1))
    return total


def _window(pairs: list[tuple[int, Point]], position: int, mask: int) -> Point:
    """The sum with each scalar cut down to one digit."""
    digit_to_sum: dict[int, Point] = {}
    for scalar, point in pairs:
        digit = scalar >> position & mask
        if digit:
            bucket = digit_to_sum.get(digit)
            digit_to_sum[digit] = point if bucket is None else add(bucket, point)
    running = total = IDENTITY
    for digit in range(max(digit_to_sum, default=0), 0, -1):
        bucket = digit_to_sum.get(digit)
        if bucket is not None:
            running = add(running, bucket)
        total = add(total, running)
    return total
