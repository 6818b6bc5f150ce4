"""ristretto255: the prime-order group of RFC 9496, on Python integers.

The section numbers below are those of the RFC. Nothing here runs in constant time: a verifier
has no secrets.
"""

from typing import Final

from zkpot_aggregator.independent.edwards import PRIME, D, Point, add

POINT_BYTES = 32


def _is_negative(element: int) -> bool:
    return element % PRIME % 2 == 1


def _absolute(element: int) -> int:
    return (-element if _is_negative(element) else element) % PRIME


_SQRT_M1: Final = pow(2, (PRIME - 1) // 4, PRIME)


def sqrt_ratio(u: int, v: int) -> tuple[bool, int]:
    """Whether u/v is a square, and the root of u/v or of sqrt(-1) u/v (section 4.2)."""
    root = u * pow(v, 3, PRIME) * pow(u * pow(v, 7, PRIME), (PRIME - 5) // 8, PRIME) % PRIME
    check = v * root * root % PRIME
    correct = check == u % PRIME
    flipped = check == -u % PRIME
    if flipped or check == -u * _SQRT_M1 % PRIME:
        root = root * _SQRT_M1 % PRIME
    return correct or flipped, _absolute(root)


# Section 4.1: the RFC fixes this root by its value, and it is the odd one.
_SQRT_AD_MINUS_ONE: Final = PRIME - sqrt_ratio(-D - 1, 1)[1]
_INVSQRT_A_MINUS_D: Final = sqrt_ratio(1, -1 - D)[1]


def decode(encoding: bytes) -> Point:
    """The point of a canonical encoding (section 4.3.1); raises ValueError for any other."""
    s = int.from_bytes(encoding, "little")
    if len(encoding) != POINT_BYTES or s >= PRIME or _is_negative(s):
        raise ValueError("not a canonical field element")
    u1, u2 = (1 - s * s) % PRIME, (1 + s * s) % PRIME
    v = (-D * u1 * u1 - u2 * u2) % PRIME
    was_square, root = sqrt_ratio(1, v * u2 * u2 % PRIME)
    den_x = root * u2 % PRIME
    x = _absolute(2 * s * den_x)
    y = u1 * root % PRIME * den_x % PRIME * v % PRIME
    t = x * y % PRIME
    if not was_square or _is_negative(t) or y == 0:
        raise ValueError("not the encoding of a point")
    return Point(x, y, 1, t)


def encode(point: Point) -> bytes:
    """The canonical encoding (section 4.3.2)."""
    x, y, z, t = point
    u1 = (z + y) * (z - y) % PRIME
    u2 = x * y % PRIME
    root = sqrt_ratio(1, u1 * u2 * u2 % PRIME)[1]
    den1, den2 = root * u1 % PRIME, root * u2 % PRIME
    z_inverse = den1 * den2 * t % PRIME
    den = den2
    if _is_negative(t * z_inverse):
        x, y = y * _SQRT_M1 % PRIME, x * _SQRT_M1 % PRIME
        den = den1 * _INVSQRT_A_MINUS_D % PRIME
    if _is_negative(x * z_inverse):
        y = -y
    return _absolute(den * (z - y)).to_bytes(POINT_BYTES, "little")


def _map(half: bytes) -> Point:
    """MAP of section 4.3.4: Elligator 2 on the low 255 bits."""
    r0 = int.from_bytes(half, "little") % 2**255 % PRIME
    r = _SQRT_M1 * r0 * r0 % PRIME
    u = (r + 1) * (1 - D * D) % PRIME
    v = (-1 - r * D) * (r + D) % PRIME
    was_square, s = sqrt_ratio(u, v)
    c = -1
    if not was_square:
        s, c = -_absolute(s * r0), r
    n = (c * (r - 1) * (D - 1) ** 2 - v) % PRIME
    w0, w1 = 2 * s * v % PRIME, n * _SQRT_AD_MINUS_ONE % PRIME
    w2, w3 = (1 - s * s) % PRIME, (1 + s * s) % PRIME
    return Point(w0 * w3 % PRIME, w2 * w1 % PRIME, w1 * w3 % PRIME, w0 * w2 % PRIME)


def from_uniform_bytes(uniform: bytes) -> Point:
    """The group element of 64 uniform bytes (section 4.3.4)."""
    return add(_map(uniform[:32]), _map(uniform[32:]))


def is_identity(point: Point) -> bool:
    """Whether the group element is the identity: its coset has x y = 0 (section 4.3.3)."""
    return point.x % PRIME == 0 or point.y % PRIME == 0
