"""The generators of section 4, derived by hashing: nobody knows a logarithm between them."""

import hashlib
from functools import cache

from zkpot_aggregator.independent.edwards import Point
from zkpot_aggregator.independent.ristretto import from_uniform_bytes

_DOMAIN = b"zkpot/sumcheck/v1/generator/"


@cache
def generator(letter: str, index: int) -> Point:
    """point(letter, index): `G` for entries, `H` for blindings, `Q` for inner products."""
    preimage = _DOMAIN + letter.encode("ascii") + index.to_bytes(8, "little")
    return from_uniform_bytes(hashlib.sha512(preimage).digest())
