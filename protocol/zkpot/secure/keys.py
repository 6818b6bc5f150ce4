"""Keys of one round: a pair for sealing shares, a pair for pairwise masks, both X25519.

They are made when a round's group is drawn, signed by the device key over task, round and
group, and forgotten with the round. They are two, and never the long-term box key, because
a member that drops out has its mask key reconstructed by the aggregator.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, device_text, digest
from zkpot.keys import KeyPair, verify_signature
from zkpot.secure.exchange import Advertisement, KeyList
from zkpot.secure.groups import Group

SECRET_BYTES = 32


@dataclass(frozen=True, repr=False)
class MaskKeys:
    """The secret halves."""

    channel: bytes
    mask: bytes

    @classmethod
    def generate(cls) -> "MaskKeys":
        """Fresh keys from the operating system's randomness."""
        return cls(secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(SECRET_BYTES))

    def advertise(self, group: Group, key: KeyPair) -> Advertisement:
        """The public halves, signed by the device's key."""
        channel, mask = public_half(self.channel), public_half(self.mask)
        signature = key.sign(keys_statement(group, key.id, channel, mask))
        return Advertisement(group.digest, key.id, channel, mask, signature)


def public_half(secret: bytes) -> bytes:
    """The X25519 public key of `secret`."""
    return bytes(crypto_scalarmult_base(secret))


def keys_statement(group: Group, device: DeviceId, channel_key: bytes, mask_key: bytes) -> Digest:
    """The bytes a device signs to say that these are its keys in this group and round."""
    return digest(
        "secure-keys",
        group.task,
        group.round.to_bytes(8, "big"),
        group.digest,
        device,
        channel_key,
        mask_key,
    )


def survivors_statement(group: Group, survivors: tuple[DeviceId, ...]) -> Digest:
    """The bytes a device signs to say that this is the only list of survivors it has seen."""
    return digest(
        "secure-survivors",
        group.task,
        group.round.to_bytes(8, "big"),
        group.digest,
        *survivors,
    )


def check_advertisement(
    group: Group, item: Advertisement, public_keys: Mapping[DeviceId, bytes]
) -> Advertisement:
    """Returns the advertisement if a member signed it for this group; raises `Rejected` if not.

    `public_keys` are the roster's Ed25519 keys.
    """
    if item.group != group.digest:
        raise Rejected(Reason.GROUP_MISMATCH, "keys for another group or round")
    if item.device not in group.device_to_weight or item.device not in public_keys:
        raise Rejected(Reason.NOT_IN_ROSTER, device_text(item.device))
    statement = keys_statement(group, item.device, item.channel_key, item.mask_key)
    verify_signature(public_keys[item.device], statement, item.signature)
    for public in (item.channel_key, item.mask_key):
        shared_secret(secrets.token_bytes(SECRET_BYTES), public)
    return item


def check_key_list(
    group: Group, keys: KeyList, public_keys: Mapping[DeviceId, bytes]
) -> Mapping[DeviceId, Advertisement]:
    """The advertisement of each listed member; raises `Rejected` for a list not to be used."""
    items = [check_advertisement(group, item, public_keys) for item in keys.advertisements]
    devices = [item.device for item in items]
    if devices != sorted(set(devices)):
        raise Rejected(Reason.MALFORMED, "keys are not sorted, or not distinct")
    if len(items) < group.threshold:
        raise Rejected(
            Reason.GROUP_TOO_SMALL, f"{len(items)} members advertised, {group.threshold} are needed"
        )
    if len({key for item in items for key in (item.channel_key, item.mask_key)}) != 2 * len(items):
        raise Rejected(Reason.DUPLICATE, "a key is listed twice")
    return {item.device: item for item in items}


def shared_secret(secret: bytes, public: bytes) -> bytes:
    """X25519; raises `Rejected` for a public key of low order, whose secret anyone knows."""
    try:
        return bytes(crypto_scalarmult(secret, public))
    except (CryptoError, RuntimeError, ValueError, TypeError) as error:
        raise Rejected(Reason.MALFORMED, "not an X25519 key to agree with") from error


def pair_seed(group: Group, secret: bytes, own: DeviceId, peer: Advertisement) -> bytes:
    """The seed of the mask between two members: the same computed by either."""
    first, second = sorted((own, peer.device))
    shared = shared_secret(secret, peer.mask_key)
    return digest("secure-pair", group.digest, first, second, shared)


def channel_secret(
    group: Group, secret: bytes, public: bytes, dealer: DeviceId, recipient: DeviceId
) -> bytes:
    """The key that seals what `dealer` deals to `recipient`; each direction has its own."""
    shared = shared_secret(secret, public)
    return digest("secure-channel", group.digest, dealer, recipient, shared)
