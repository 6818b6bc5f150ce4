"""Shamir shares of 32-byte secrets, sealed to one member each.

PyCryptodome shares 16 bytes at a time, so a secret is shared in two halves over the same
points. A member's point is its place in the group, from 1. A sealed share opens for one
dealer, recipient and group only; what it must hash to is told to the aggregator beforehand,
so a false share is recognised and left out.
"""

import secrets as randomness
from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, device_text, digest
from zkpot.secure.exchange import SHARE_BYTES, ShareKind
from zkpot.secure.groups import Group

HALF_BYTES = 16
"""The block that PyCryptodome shares."""

NONCE_BYTES = 24


def split(secret: bytes, threshold: int, number: int) -> tuple[bytes, ...]:
    """Shares of a 32-byte secret, for the points 1 to `number`."""
    if len(secret) != 2 * HALF_BYTES:
        raise ValueError(f"a secret of {len(secret)} bytes")
    low, high = (
        Shamir.split(threshold, number, half, ssss=False)
        for half in (secret[:HALF_BYTES], secret[HALF_BYTES:])
    )
    return tuple(bytes(a) + bytes(b) for (_, a), (_, b) in zip(low, high, strict=True))


def combine(point_to_share: Mapping[int, bytes]) -> bytes:
    """The secret of exactly as many shares as its threshold is.

    Any other shares give some other secret: the caller knows what the right one hashes to.
    """
    return b"".join(
        bytes(
            Shamir.combine(
                [(point, share[half]) for point, share in point_to_share.items()], ssss=False
            )
        )
        for half in (slice(0, HALF_BYTES), slice(HALF_BYTES, None))
    )


def point_of(group: Group, device: DeviceId) -> int:
    """Where the sharing polynomials are evaluated for `device`."""
    return group.devices.index(device) + 1


def share_digest(
    group: Group, kind: ShareKind, dealer: DeviceId, recipient: DeviceId, share: bytes
) -> Digest:
    """What a share must hash to. Shares have 256 random bits: the digest does not betray them."""
    return digest("secure-share", group.digest, bytes([kind]), dealer, recipient, share)


def seed_digest(group: Group, dealer: DeviceId, seed: bytes) -> Digest:
    """What a dealer's seed must hash to."""
    return digest("secure-seed", group.digest, dealer, seed)


def seal_shares(
    channel: bytes,
    group: Group,
    dealer: DeviceId,
    recipient: DeviceId,
    shares: tuple[bytes, bytes],
) -> bytes:
    """A seed share and a mask key share under `channel` (XChaCha20-Poly1305, random nonce)."""
    nonce = randomness.token_bytes(NONCE_BYTES)
    bound = _bound(group, dealer, recipient)
    return nonce + bytes(
        crypto_aead_xchacha20poly1305_ietf_encrypt(b"".join(shares), bound, nonce, channel)
    )


def open_shares(
    channel: bytes, group: Group, dealer: DeviceId, recipient: DeviceId, sealed: bytes
) -> tuple[bytes, bytes]:
    """The shares inside; raises `Rejected` unless sealed by `dealer` to `recipient` in `group`."""
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, _bound(group, dealer, recipient), nonce, channel
        )
    except (CryptoError, ValueError, TypeError) as error:
        raise Rejected(
            Reason.SHARE_INVALID, f"the shares of {device_text(dealer)} do not open"
        ) from error
    if len(plain) != 2 * SHARE_BYTES:
        raise Rejected(Reason.SHARE_INVALID, f"the shares of {device_text(dealer)} are cut short")
    return bytes(plain[:SHARE_BYTES]), bytes(plain[SHARE_BYTES:])


def _bound(group: Group, dealer: DeviceId, recipient: DeviceId) -> bytes:
    return digest("secure-sealed", group.digest, dealer, recipient)
