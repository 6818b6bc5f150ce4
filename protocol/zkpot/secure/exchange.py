"""What members of a group and the aggregator tell each other, step by step.

advertise keys -> deal shares -> masked input -> consistency -> release. Everything names the
group's digest. Who sent it is for the caller to have verified (an envelope's signer);
advertisements and confirmations carry signatures of their own because other members rely
on them. Releases travel sealed to the operator: who reads enough of them can unmask the sum.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Annotated, TypeAlias

from zkpot.aggregate import MAX_BLINDING_BYTES, MAX_MODEL_BYTES
from zkpot.aggregation import MAX_GROUP
from zkpot.cid import MAX_OBJECT_BYTES, Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, digest
from zkpot.keys import PUBLIC_KEY_BYTES, SEAL_BYTES, SIGNATURE_BYTES, KeyPair, seal
from zkpot.wire.codec import Exactly, Max, decode, encode

SHARE_BYTES = 32
VECTOR_OVERHEAD_BYTES = 64
"""Of a masked vector's object: what CBOR puts around its two fields, at most."""

SEALED_BYTES = 24 + 2 * SHARE_BYTES + 16
"""Nonce, one share of either kind, authenticator."""

MAX_RELEASE_BYTES = 16 * 1024
"""Shares of 192 members, at about 65 bytes each."""

PublicKey = Annotated[bytes, Exactly(PUBLIC_KEY_BYTES)]
Signature = Annotated[bytes, Exactly(SIGNATURE_BYTES)]


@unique
class ShareKind(IntEnum):
    """Which of a dealer's two secrets a share is of. Nobody may ever get both."""

    SEED = 1
    MASK_KEY = 2


# --- from members ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Advertisement:
    """A member's two X25519 keys of this round, signed by its device key."""

    group: Digest
    device: DeviceId
    channel_key: PublicKey
    mask_key: PublicKey
    signature: Signature


@dataclass(frozen=True)
class DealtShares:
    """A share of both secrets, sealed to one member, and what each must hash to."""

    recipient: DeviceId
    sealed: Annotated[bytes, Exactly(SEALED_BYTES)]
    seed_digest: Digest
    key_digest: Digest


@dataclass(frozen=True)
class Dealing:
    """A member's shares for everyone in the key list; `seed` is the digest of its seed."""

    group: Digest
    seed: Digest
    shares: Annotated[tuple[DealtShares, ...], Max(MAX_GROUP)]


@dataclass(frozen=True, repr=False)
class MaskedVector:
    """theta mod 2^32 (little-endian words) and the blinding scalars, masked: an object."""

    theta: Annotated[bytes, Max(MAX_MODEL_BYTES)]
    blinding: Annotated[bytes, Max(MAX_BLINDING_BYTES)]


@dataclass(frozen=True)
class MaskedInput:
    """Names the one masked vector of a member.

    `delivery` is the digest of the delivery that says whose masks are in it.
    """

    group: Digest
    delivery: Digest
    vector: Cid


@dataclass(frozen=True)
class Confirmation:
    """The one list of survivors this member has seen, signed by its device key."""

    group: Digest
    device: DeviceId
    signature: Signature


@dataclass(frozen=True, repr=False)
class ReleasedShare:
    """One share of one secret of `dealer`."""

    dealer: DeviceId
    kind: ShareKind
    share: Annotated[bytes, Exactly(SHARE_BYTES)]


@dataclass(frozen=True, repr=False)
class Release:
    """Seed shares of the survivors, mask key shares of those who dealt but did not survive.

    No message: it leaves a member only in a `SealedRelease`.
    """

    group: Digest
    shares: Annotated[tuple[ReleasedShare, ...], Max(MAX_GROUP)]


@dataclass(frozen=True)
class SealedRelease:
    """A member's release, sealed to the operator's X25519 key."""

    group: Digest
    sealed: Annotated[bytes, Max(MAX_RELEASE_BYTES + SEAL_BYTES)]


# --- from the aggregator --------------------------------------------------------------------


@dataclass(frozen=True)
class KeyList:
    """The members that advertised, sorted by id."""

    group: Digest
    advertisements: Annotated[tuple[Advertisement, ...], Max(MAX_GROUP)]


@dataclass(frozen=True)
class DeliveredShares:
    """What `dealer` sealed to the member this is delivered to."""

    dealer: DeviceId
    sealed: Annotated[bytes, Exactly(SEALED_BYTES)]


@dataclass(frozen=True)
class Delivery:
    """Shares from every member that dealt, sorted by id: those whose masks are to be used."""

    group: Digest
    shares: Annotated[tuple[DeliveredShares, ...], Max(MAX_GROUP)]

    @property
    def dealers(self) -> tuple[DeviceId, ...]:
        """Who dealt."""
        return tuple(each.dealer for each in self.shares)


@dataclass(frozen=True)
class Survivors:
    """The members whose masked input is in the sum, sorted by id."""

    group: Digest
    devices: Annotated[tuple[DeviceId, ...], Max(MAX_GROUP)]


@dataclass(frozen=True)
class Confirmations:
    """The signatures over the list of survivors, sorted by id."""

    group: Digest
    confirmations: Annotated[tuple[Confirmation, ...], Max(MAX_GROUP)]


FromMember: TypeAlias = Advertisement | Dealing | MaskedInput | Confirmation | SealedRelease
ToMember: TypeAlias = KeyList | Delivery | Survivors | Confirmations


def decode_masked_vector(data: bytes) -> MaskedVector:
    """Reads a masked vector's object; raises `Rejected` for anything else."""
    return decode(MaskedVector, data, limit=MAX_OBJECT_BYTES)


def seal_release(box_key: bytes, release: Release) -> SealedRelease:
    """What travels of a release. Each sealing gives other bytes: what was sent must be kept."""
    return SealedRelease(release.group, seal(box_key, encode(release)))


def open_release(key: KeyPair, message: SealedRelease) -> Release:
    """What was sealed to `key`; raises `Rejected` unless it is a release of the same group."""
    release = decode(Release, key.open(message.sealed), limit=MAX_RELEASE_BYTES)
    if release.group != message.group:
        raise Rejected(Reason.GROUP_MISMATCH, "a release of another group or round was sealed")
    return release


def message_digest(message: FromMember | ToMember) -> Digest:
    """Names a message: what is answered once is recognised when it comes again."""
    return digest("secure-message", type(message).__name__.encode(), encode(message))


def dealers_digest(group: Digest, dealers: tuple[DeviceId, ...]) -> Digest:
    """Names a set of dealers; every member's delivery holds other shares from the same set."""
    return digest("secure-dealers", group, *dealers)
