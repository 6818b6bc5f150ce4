"""The twisted Edwards curve under ristretto255, in extended coordinates.

-x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo 2^255 - 19; formulae of RFC 8032, section
5.1.4 (Hisil, Wong, Carter and Dawson 2008). They are complete: no exceptional cases.
"""

from typing import NamedTuple

PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME


class Point(NamedTuple):
    """x = X/Z, y = Y/Z, x y = T/Z."""

    x: int
    y: int
    z: int
    t: int


IDENTITY = Point(0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """The sum of two points."""
    x1, y1, z1, t1 = p
    x2, y2, z2, t2 = q
    a = (y1 - x1) * (y2 - x2)
    b = (y1 + x1) * (y2 + x2)
    c = 2 * D * t1 % PRIME * t2
    d = 2 * z1 * z2
    e, f, g, h = (b - a) % PRIME, (d - c) % PRIME, (d + c) % PRIME, (b + a) % PRIME
    return Point(e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME)


def double(p: Point) -> Point:
    """Twice a point."""
    x, y, z, _ = p
    a = x * x
    b = y * y
    h = (a + b) % PRIME
    e = (h - (x + y) * (x + y)) % PRIME
    g = (a - b) % PRIME
    f = (2 * z * z + g) % PRIME
    return Point(e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME)
