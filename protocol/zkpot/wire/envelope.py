"""The signed envelope around every message.

The signature is over the DSSE pre-authentication encoding of the type and the exact
payload bytes, so nothing is parsed before it is verified and nothing is encoded twice.
The type names the message and its major version; the signer is named by device id and
must be known beforehand: an envelope never introduces its own key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, device_text, digest
from zkpot.keys import SIGNATURE_BYTES, KeyPair, verify_signature
from zkpot.wire.codec import Exactly, Max, decode, encode
from zkpot.wire.messages import MESSAGE_TO_TYPE, TYPE_TO_MESSAGE, Message

M_co = TypeVar("M_co", covariant=True)
N = TypeVar("N")

MAX_MESSAGE_BYTES = 160 * 1024
"""Room for one 128 KiB block and its envelope; brokers must be set to allow it."""


@dataclass(frozen=True)
class Envelope:
    """What travels: the type, the payload's bytes, who signed, and the signature."""

    type: Annotated[str, Max(64)]
    payload: Annotated[bytes, Max(MAX_MESSAGE_BYTES)]
    signer: DeviceId
    signature: Annotated[bytes, Exactly(SIGNATURE_BYTES)]


@dataclass(frozen=True)
class Opened(Generic[M_co]):
    """A verified message, who signed it, and the envelope's bytes as evidence."""

    message: M_co
    signer: DeviceId
    envelope: bytes

    @property
    def digest(self) -> Digest:
        """Names this envelope in receipts and records."""
        return envelope_digest(self.envelope)


def envelope_digest(envelope: bytes) -> Digest:
    """The name of an envelope: the digest of its bytes."""
    return digest("envelope", envelope)


def sign(message: Message, key: KeyPair) -> bytes:
    """Encodes `message` and wraps it in an envelope signed by `key`."""
    message_type, payload = MESSAGE_TO_TYPE[type(message)], encode(message)
    signature = key.sign(_pre_authentication(message_type, payload))
    envelope = encode(Envelope(message_type, payload, key.id, signature))
    if len(envelope) > MAX_MESSAGE_BYTES:
        raise Rejected(
            Reason.OVERSIZE, f"{message_type}: {len(envelope)} bytes, at most {MAX_MESSAGE_BYTES}"
        )
    return envelope


def open_envelope(data: bytes, public_keys: Mapping[DeviceId, bytes]) -> Opened[Message]:
    """Verifies an envelope; raises `Rejected` naming the first of these that fails.

    1. size and form; 2. a known type and major version; 3. a known signer;
    4. the signature; 5. the payload is exactly one message of that type.
    """
    # 1
    envelope = decode(Envelope, data, limit=MAX_MESSAGE_BYTES)
    # 2
    message_type = TYPE_TO_MESSAGE.get(envelope.type)
    if message_type is None:
        raise Rejected(Reason.UNKNOWN_TYPE, repr(envelope.type))
    # 3
    public_key = public_keys.get(envelope.signer)
    if public_key is None:
        raise Rejected(Reason.NOT_IN_ROSTER, device_text(envelope.signer))
    # 4
    signed = _pre_authentication(envelope.type, envelope.payload)
    verify_signature(public_key, signed, envelope.signature)
    # 5
    message = decode(message_type, envelope.payload, limit=MAX_MESSAGE_BYTES)
    return Opened(message, envelope.signer, data)


def open_as(message_type: type[N], data: bytes, public_keys: Mapping[DeviceId, bytes]) -> Opened[N]:
    """`open_envelope` for a place where only one type of message may stand."""
    opened = open_envelope(data, public_keys)
    if not isinstance(opened.message, message_type):
        found = type(opened.message).__name__
        raise Rejected(Reason.UNKNOWN_TYPE, f"expected {message_type.__name__}, got {found}")
    return Opened(opened.message, opened.signer, data)


def open_from(
    sender: DeviceId, data: bytes, public_keys: Mapping[DeviceId, bytes]
) -> Opened[Message]:
    """`open_envelope` for a topic on which only `sender` may write."""
    opened = open_envelope(data, public_keys)
    if opened.signer != sender:
        raise Rejected(Reason.WRONG_TOPIC, f"signed by {device_text(opened.signer)}")
    return opened


def _pre_authentication(message_type: str, payload: bytes) -> bytes:
    kind = message_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
