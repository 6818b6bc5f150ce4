"""What a member remembers between steps; encoded with `wire.codec` it goes to disk.

A secret is kept exactly as long as it is needed: the mask key until the input is masked, the
members' shares until they are released, and after that nothing. States hold secrets: they
have no representation, and belong in the device's own journal only.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias, cast

from zkpot.aggregation import MAX_GROUP
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest
from zkpot.secure.exchange import SHARE_BYTES, Advertisement
from zkpot.secure.groups import Group
from zkpot.wire.codec import Exactly, Max, decode_tagged, encode_tagged

Secret = Annotated[bytes, Exactly(32)]


@dataclass(frozen=True, repr=False)
class Seat:
    """A member's place in its group, and digests of the messages it has answered, in order."""

    group: Group
    device: DeviceId
    answered: Annotated[tuple[Digest, ...], Max(4)] = ()


@dataclass(frozen=True, repr=False)
class Advertised:
    """Made and published its keys; waits for the key list."""

    seat: Seat
    channel: Secret
    mask: Secret


@dataclass(frozen=True, repr=False)
class Dealt:
    """Dealt shares of its seed and mask key; waits for the others' shares."""

    seat: Seat
    channel: Secret
    mask: Secret
    seed: Secret
    keys: Annotated[tuple[Advertisement, ...], Max(MAX_GROUP)]


@dataclass(frozen=True, repr=False)
class HeldShares:
    """What a member holds of a dealer's two secrets. It releases one or the other."""

    dealer: DeviceId
    seed: Annotated[bytes, Exactly(SHARE_BYTES)]
    mask: Annotated[bytes, Exactly(SHARE_BYTES)]


@dataclass(frozen=True, repr=False)
class Masked:
    """Gave its one masked input; waits for the list of survivors."""

    seat: Seat
    dealers: Annotated[tuple[DeviceId, ...], Max(MAX_GROUP)]
    held: Annotated[tuple[HeldShares, ...], Max(MAX_GROUP)]


@dataclass(frozen=True, repr=False)
class Confirmed:
    """Signed its one list of survivors; waits for the others' signatures."""

    seat: Seat
    dealers: Annotated[tuple[DeviceId, ...], Max(MAX_GROUP)]
    held: Annotated[tuple[HeldShares, ...], Max(MAX_GROUP)]
    survivors: Annotated[tuple[DeviceId, ...], Max(MAX_GROUP)]


@dataclass(frozen=True, repr=False)
class Released:
    """Released its shares; keeps no secret."""

    seat: Seat


MemberState: TypeAlias = Advertised | Dealt | Masked | Confirmed | Released
_STATES = (Advertised, Dealt, Masked, Confirmed, Released)


def encode_state(state: MemberState) -> bytes:
    """Secret: for the device's own journal only."""
    return encode_tagged(state)


def decode_state(data: bytes) -> MemberState:
    """Reads what `encode_state` wrote; raises `Rejected` for anything else."""
    return cast("MemberState", decode_tagged(_STATES, data))


def check_unseated(earlier: MemberState | None, group: Group) -> None:
    """Raises `Rejected` if this round's place is taken: one group and one input per round."""
    if earlier is None or earlier.seat.group.task != group.task:
        return
    taken = earlier.seat.group
    if taken.digest == group.digest:
        raise Rejected(Reason.DUPLICATE, "this member has a place in the group already")
    if taken.round == group.round:
        raise Rejected(Reason.EQUIVOCATION, "a second group in one round")
    if taken.round > group.round:
        raise Rejected(Reason.STALE_ROUND, f"round {group.round}, after round {taken.round}")
