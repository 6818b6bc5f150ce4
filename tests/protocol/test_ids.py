"""Digests are injective in their parts; ids have one text each."""

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zkpot.ids import DeviceId, device_from_text, device_text, digest


def test_a_digest_is_sha256_over_length_prefixed_parts() -> None:
    expected = hashlib.sha256(
        (8).to_bytes(8, "big")
        + b"zkpot/ab"
        + (3).to_bytes(8, "big")
        + b"one"
        + bytes(8)
        + (1).to_bytes(8, "big")
        + b"2"
    ).digest()
    assert digest("ab", b"one", b"", b"2") == expected


parts = st.lists(st.binary(max_size=4), max_size=4)


@given(domain=st.text(max_size=4), first=parts, other=st.text(max_size=4), second=parts)
def test_no_two_lists_of_parts_have_one_digest(
    domain: str, first: list[bytes], other: str, second: list[bytes]
) -> None:
    assume((domain, first) != (other, second))
    assert digest(domain, *first) != digest(other, *second)


def test_moving_a_boundary_changes_the_digest() -> None:
    assert len({digest("d", b"ab", b""), digest("d", b"a", b"b"), digest("d", b"ab")}) == 3


@given(raw=st.binary(min_size=20, max_size=20))
def test_an_id_is_32_lower_case_characters_and_reads_back(raw: bytes) -> None:
    text = device_text(DeviceId(raw))
    assert len(text) == 32
    assert text == text.lower()
    assert device_from_text(text) == raw


@given(text=st.text(max_size=40))
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        device_from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 31,
        "a" * 33,
        "A" * 32,
        "1" * 32,
        "a" * 31 + "=",
        " " + "a" * 31,
        "\N{LATIN SMALL LETTER DOTLESS I}" * 32,
        "\N{LATIN SMALL LIGATURE FF}" * 16,
    ],
)
def test_look_alikes_are_no_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        device_from_text(text)
