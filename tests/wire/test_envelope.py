"""Each numbered step of opening an envelope fails with its own code, in its order."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from zkpot.cid import BLOCK_BYTES, raw_cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, Round, TaskId
from zkpot.keys import KeyPair
from zkpot.wire.codec import decode, encode
from zkpot.wire.envelope import (
    MAX_MESSAGE_BYTES,
    Envelope,
    envelope_digest,
    open_as,
    open_envelope,
    open_from,
    sign,
)
from zkpot.wire.messages import Block, Commitment, RecordProposal, Status

KEY = KeyPair.from_seed(bytes([1]) * 32)
OTHER = KeyPair.from_seed(bytes([2]) * 32)
KNOWN: Mapping[DeviceId, bytes] = {KEY.id: KEY.public_key, OTHER.id: OTHER.public_key}
MESSAGE = Status(7, online=True, activity="ready")


def _envelope(data: bytes) -> Envelope:
    return decode(Envelope, data, limit=MAX_MESSAGE_BYTES)


def _pre_authentication(kind: bytes, payload: bytes) -> bytes:
    """Written out from the DSSE specification, apart from the code under test."""
    lengths = str(len(kind)).encode(), str(len(payload)).encode()
    return b" ".join((b"DSSEv1", lengths[0], kind, lengths[1], payload))


def _signed(kind: str, payload: bytes, key: KeyPair = KEY) -> bytes:
    signature = key.sign(_pre_authentication(kind.encode(), payload))
    return encode(Envelope(kind, payload, key.id, signature))


def _reason(data: bytes, known: Mapping[DeviceId, bytes] = KNOWN) -> Reason:
    with pytest.raises(Rejected) as caught:
        open_envelope(data, known)
    return caught.value.reason


def test_what_is_signed_opens() -> None:
    data = sign(MESSAGE, KEY)
    opened = open_envelope(data, KNOWN)
    assert (opened.message, opened.signer, opened.envelope) == (MESSAGE, KEY.id, data)
    assert opened.digest == envelope_digest(data)


def test_the_signature_is_over_the_pre_authentication_encoding() -> None:
    envelope = _envelope(sign(MESSAGE, KEY))
    signed = _pre_authentication(b"zkpot/status/1", encode(MESSAGE))
    SigningKey(bytes([1]) * 32).verify_key.verify(signed, envelope.signature)


def test_signing_twice_gives_the_same_bytes() -> None:
    assert sign(MESSAGE, KEY) == sign(MESSAGE, KEY)


def test_step_1_size() -> None:
    assert _reason(bytes(MAX_MESSAGE_BYTES + 1)) is Reason.OVERSIZE


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xa0", sign(MESSAGE, KEY) + b"\x00"])
def test_step_1_form(data: bytes) -> None:
    assert _reason(data) is Reason.MALFORMED


@pytest.mark.parametrize("kind", ["zkpot/status/2", "zkpot/status", "zkpot/nothing/1", ""])
def test_step_2_unknown_type_or_version_even_if_signed(kind: str) -> None:
    assert _reason(_signed(kind, encode(MESSAGE))) is Reason.UNKNOWN_TYPE


def test_step_3_unknown_signer() -> None:
    assert _reason(sign(MESSAGE, KEY), {OTHER.id: OTHER.public_key}) is Reason.NOT_IN_ROSTER


def test_step_4_signature_of_another() -> None:
    envelope = _envelope(sign(MESSAGE, KEY))
    forged = _envelope(sign(MESSAGE, OTHER)).signature
    assert _reason(encode(replace(envelope, signature=forged))) is Reason.BAD_SIGNATURE


def test_step_4_signer_exchanged() -> None:
    stolen = replace(_envelope(sign(MESSAGE, KEY)), signer=OTHER.id)
    assert _reason(encode(stolen)) is Reason.BAD_SIGNATURE


def test_step_4_payload_exchanged() -> None:
    later = encode(replace(MESSAGE, session=8))
    changed = replace(_envelope(sign(MESSAGE, KEY)), payload=later)
    assert _reason(encode(changed)) is Reason.BAD_SIGNATURE


def test_step_4_type_exchanged() -> None:
    """A payload that two types could read is still only the one that was signed."""
    proposal = RecordProposal(TaskId(bytes(32)), Round(1), raw_cid(b""))
    changed = replace(_envelope(sign(proposal, KEY)), type="zkpot/record-signature/1")
    assert _reason(encode(changed)) is Reason.BAD_SIGNATURE


def test_step_4_a_key_that_is_none() -> None:
    assert _reason(sign(MESSAGE, KEY), {KEY.id: b"short"}) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xa0", encode(MESSAGE) + b"\x00", encode(MESSAGE)[:-1], b"\xbf\xff"],
)
def test_step_5_a_payload_that_is_not_one_message_of_its_type(payload: bytes) -> None:
    assert _reason(_signed("zkpot/status/1", payload)) is Reason.MALFORMED


def test_only_the_expected_type_opens_as_such() -> None:
    assert open_as(Status, sign(MESSAGE, KEY), KNOWN).message == MESSAGE
    with pytest.raises(Rejected, match="expected Commitment, got Status") as caught:
        open_as(Commitment, sign(MESSAGE, KEY), KNOWN)
    assert caught.value.reason is Reason.UNKNOWN_TYPE


def test_only_the_topics_owner_opens_on_it() -> None:
    assert open_from(KEY.id, sign(MESSAGE, KEY), KNOWN).message == MESSAGE
    with pytest.raises(Rejected, match="signed by") as caught:
        open_from(OTHER.id, sign(MESSAGE, KEY), KNOWN)
    assert caught.value.reason is Reason.WRONG_TOPIC


def test_a_full_block_fits() -> None:
    data = bytes(BLOCK_BYTES)
    assert open_envelope(sign(Block(raw_cid(data), data), KEY), KNOWN).signer == KEY.id


def test_an_oversize_message_is_not_signed() -> None:
    task, parent = TaskId(bytes(32)), Digest(bytes(32))
    with pytest.raises(ValueError, match=r"expected Max"):
        sign(Commitment(task, Round(1), parent, bytes(MAX_MESSAGE_BYTES), None), KEY)


@settings(max_examples=200)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(Rejected):
        open_envelope(data, KNOWN)


@settings(max_examples=300)
@given(
    position=st.integers(0, len(sign(MESSAGE, KEY)) - 1),
    bit=st.integers(0, 7),
)
def test_no_bit_of_an_envelope_can_change(position: int, bit: int) -> None:
    data = bytearray(sign(MESSAGE, KEY))
    data[position] ^= 1 << bit
    assert _reason(bytes(data)) in {
        Reason.MALFORMED,
        Reason.UNKNOWN_TYPE,
        Reason.NOT_IN_ROSTER,
        Reason.BAD_SIGNATURE,
    }
