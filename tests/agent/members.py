"""A made-up group and what is said in it, for tests of the device's round."""

from tests.agent.announcements import TASK, announcement, cid
from tests.protocol.rounds import key

from zkpot.ids import DeviceId, Round, digest
from zkpot.secure.exchange import (
    SEALED_BYTES,
    Advertisement,
    Confirmation,
    Confirmations,
    Dealing,
    DeliveredShares,
    Delivery,
    FromMember,
    KeyList,
    MaskedInput,
    SealedRelease,
    Survivors,
    ToMember,
)
from zkpot.secure.groups import Group, Member
from zkpot.secure.member import ORDER
from zkpot.wire.messages import Phase

OWN = key(0).id
STEPS = len(ORDER)


def group(round_number: int) -> Group:
    """This device and two others."""
    beacon = announcement(round_number, Phase.PROVE).beacon
    assert beacon is not None
    devices = sorted(key(number).id for number in range(3))
    members = tuple(Member(device, 1) for device in devices)
    return Group(TASK, Round(round_number), beacon, 0, members)


def told(round_number: int, place: int, variant: str = "") -> ToMember:
    """What the aggregator says in a step; `variant` makes another message of the same step."""
    ours = group(round_number)
    devices = ours.devices[: 2 if variant else 3]
    match place:
        case 0:
            return KeyList(ours.digest, tuple(advertisement(round_number, d) for d in devices))
        case 1:
            shares = tuple(DeliveredShares(d, bytes(SEALED_BYTES)) for d in devices)
            return Delivery(ours.digest, shares)
        case 2:
            return Survivors(ours.digest, devices)
        case _:
            signed = tuple(Confirmation(ours.digest, d, bytes(64)) for d in devices)
            return Confirmations(ours.digest, signed)


def advertisement(round_number: int, device: DeviceId = OWN, made: int = 0) -> Advertisement:
    """Keys; each `made` gives others."""
    keys = digest("channel", bytes([made])), digest("mask", bytes([made]))
    return Advertisement(group(round_number).digest, device, *keys, bytes(64))


def answer(round_number: int, place: int, made: int = 0) -> FromMember:
    """Our answer to what was told at `place`; each `made` gives another."""
    name, fresh = group(round_number).digest, digest("fresh", made.to_bytes(4, "big"))
    match place:
        case 0:
            return Dealing(name, fresh, ())
        case 1:
            return MaskedInput(name, fresh, cid(f"vector {made}"))
        case 2:
            return Confirmation(name, OWN, fresh + fresh)
        case _:
            return SealedRelease(name, fresh)
