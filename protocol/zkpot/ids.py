"""Names for the protocol's identifiers, and the one hash that makes digests.

Bytes inside, text only at the edges: `device_text` and `Digest.hex()` are for people.
"""

import base64
import hashlib
from typing import NewType

Digest = NewType("Digest", bytes)
"""32 bytes of SHA-256 over a domain and length-prefixed parts."""

DeviceId = NewType("DeviceId", bytes)
"""20 bytes: the start of the digest of a device's Ed25519 public key."""

TaskId = NewType("TaskId", bytes)
"""32 bytes: the digest of a task's manifest, and its name on the ledger."""

Beacon = NewType("Beacon", bytes)
"""32 bytes of public randomness, fixed after the commitments were sealed."""

Round = NewType("Round", int)
"""Number of a round within its task, from 1."""

DIGEST_BYTES = 32
DEVICE_ID_BYTES = 20


def digest(domain: str, *parts: bytes) -> Digest:
    """SHA-256 of `domain` and `parts`, each preceded by its length as 8 bytes big-endian.

    The lengths make the encoding injective, so that no two lists of parts collide.
    """
    state = hashlib.sha256()
    for part in (f"zkpot/{domain}".encode(), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return Digest(state.digest())


def device_text(device: DeviceId) -> str:
    """Lower-case base32 without padding, as in topics and in what people read."""
    return base64.b32encode(device).decode().rstrip("=").lower()


def device_from_text(text: str) -> DeviceId:
    """Inverse of `device_text`; raises ValueError for anything it would not have written."""
    raw = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    if len(raw) != DEVICE_ID_BYTES or device_text(DeviceId(raw)) != text:
        raise ValueError(f"not a device id: {text[:64]!r}")
    return DeviceId(raw)
