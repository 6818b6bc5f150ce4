"""Keccak-f against the standard library, STROBE and merlin against published vectors."""

import hashlib

import pytest

from zkpot_aggregator.independent.keccak import permute
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.strobe import Strobe
from zkpot_aggregator.independent.transcript import Transcript


def sha3_256(message: bytes) -> bytes:
    """FIPS 202, section 6.1, on our permutation."""
    rate, state = 136, bytearray(200)
    padded = bytearray(message + b"\x06")
    padded += bytes(-len(padded) % rate)
    padded[-1] ^= 0x80
    for start in range(0, len(padded), rate):
        for i, byte in enumerate(padded[start : start + rate]):
            state[i] ^= byte
        state = permute(state)
    return bytes(state[:32])


@pytest.mark.parametrize("size", [0, 1, 134, 135, 136, 1000])
def test_permutation_makes_sha3(size: int) -> None:
    message = bytes(i % 251 for i in range(size))
    assert sha3_256(message) == hashlib.sha3_256(message).digest()


def test_strobe_conformance() -> None:
    # The first output of "Conformance Test Protocol" in the tests of strobe-rs and merlin.
    strobe = Strobe(b"Conformance Test Protocol")
    strobe.meta_ad(b"ms")
    strobe.meta_ad(b"g", more=True)
    strobe.ad(bytes([99]) * 1024)
    strobe.meta_ad(b"prf")
    assert strobe.prf(32).hex() == (
        "b48e645ca17c667fd5206ba57a6a228d72d8e1903814d3f17f622996d7cfefb0"
    )


def test_merlin_simple() -> None:
    # `equivalence_simple` of merlin's tests.
    transcript = Transcript(b"test protocol")
    transcript.append(b"some label", b"some data")
    assert transcript.challenge_bytes(b"challenge", 32).hex() == (
        "d5a21972d0d5fe320c0d263fac7fffb8145aa640af6e9bca177c03c7efcf0615"
    )


def test_merlin_complex() -> None:
    # `TestComplexTranscript` of gtank/merlin: messages longer than STROBE's rate.
    transcript = Transcript(b"test protocol")
    transcript.append(b"step1", b"some data")
    challenge = b""
    for _ in range(32):
        challenge = transcript.challenge_bytes(b"challenge", 32)
        transcript.append(b"bigdata", bytes([99]) * 1024)
        transcript.append(b"challengedata", challenge)
    assert challenge.hex() == "a8c933f54fae76e3f9bea93648c1308e7dfa2152dd51674ff3ca438351cf003c"


def test_output_longer_than_the_rate_is_one_stream() -> None:
    one, two = Strobe(b"stream"), Strobe(b"stream")
    assert one.prf(500)[:166] == two.prf(166)


def test_challenges_are_wide_reductions() -> None:
    one, two = Transcript(b"wide"), Transcript(b"wide")
    wide = one.challenge_bytes(b"challenge", 64)
    assert two.challenge() == int.from_bytes(wide, "little") % ORDER
