"""The permutation Keccak-f[1600] of FIPS 202, section 3.

The libraries at hand expose hash functions only, not the permutation that STROBE needs.
"""

from typing import Final

STATE_BYTES = 200
_LANE = 2**64 - 1


def _rotate(lane: int, bits: int) -> int:
    return (lane << bits | lane >> (64 - bits)) & _LANE


def _round_constants() -> list[int]:
    """The constants of iota (section 3.2.5), from an 8-bit linear feedback shift register."""
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << (2**j - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


def _moves() -> list[tuple[int, int, int]]:
    """(source, its column, rotation) per lane, for rho and pi (sections 3.2.2 and 3.2.3)."""
    place_to_move = {0: (0, 0, 0)}
    x, y = 1, 0
    for t in range(24):
        place_to_move[y + 5 * ((2 * x + 3 * y) % 5)] = (x + 5 * y, x, (t + 1) * (t + 2) // 2 % 64)
        x, y = y, (2 * x + 3 * y) % 5
    return [place_to_move[place] for place in range(25)]


_ROUND_CONSTANTS: Final = _round_constants()
_MOVES: Final = _moves()
_CHI: Final = [
    (place, place - place % 5 + (place + 1) % 5, place - place % 5 + (place + 2) % 5)
    for place in range(25)
]


def permute(state: bytes | bytearray) -> bytearray:
    """The state of 200 bytes after 24 rounds; lane (x, y) is at byte 8 (x + 5 y)."""
    a = [int.from_bytes(state[i : i + 8], "little") for i in range(0, STATE_BYTES, 8)]
    for constant in _ROUND_CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ _rotate(c[(x + 1) % 5], 1) for x in range(5)]
        b = [_rotate(a[source] ^ d[x], bits) for source, x, bits in _MOVES]
        a = [b[i] ^ (~b[j] & b[k]) for i, j, k in _CHI]
        a[0] ^= constant
    return bytearray(b"".join(lane.to_bytes(8, "little") for lane in a))
