"""A member's steps: what it answers to the aggregator, and what it never answers.

The rules it keeps:

1. a message is about this group of this round, and is the next one; one that was answered
   before is a DUPLICATE, another one in its place EQUIVOCATION;
2. keys are used only if their owners signed them for this group;
3. nothing goes on with fewer members than the threshold;
4. one masked input is given, over the masks of one set of dealers;
5. one list of survivors is signed;
6. shares are released once, after `threshold` signatures over that very list, and of each
   dealer either the seed's (it survived) or the mask key's (it did not), never both.

`advertise` and `deal` draw secrets from the operating system, and `release` seals with a fresh
key; everything else is a pure function. A refused message changes nothing. A state must be on
disk before its answer is sent, and the answer must then be sent as it is: it cannot be made again.
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from zkpot.cid import split_object
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, device_text
from zkpot.keys import KeyPair, verify_signature
from zkpot.proof.system import ModelOpening
from zkpot.secure.exchange import (
    Advertisement,
    Confirmation,
    Confirmations,
    Dealing,
    DealtShares,
    Delivery,
    FromMember,
    KeyList,
    MaskedInput,
    MaskedVector,
    Release,
    ReleasedShare,
    ShareKind,
    Survivors,
    ToMember,
    dealers_digest,
    message_digest,
    seal_release,
)
from zkpot.secure.groups import Group
from zkpot.secure.keys import (
    SECRET_BYTES,
    MaskKeys,
    channel_secret,
    check_key_list,
    pair_seed,
    survivors_statement,
)
from zkpot.secure.mask import SCALAR_BYTES, Expand, Lengths, Total, expand
from zkpot.secure.shares import (
    open_shares,
    point_of,
    seal_shares,
    seed_digest,
    share_digest,
    split,
)
from zkpot.secure.states import (
    Advertised,
    Confirmed,
    Dealt,
    HeldShares,
    Masked,
    MemberState,
    Released,
    Seat,
    check_unseated,
)
from zkpot.wire.codec import encode

ORDER: tuple[type[ToMember], ...] = (KeyList, Delivery, Survivors, Confirmations)


@dataclass(frozen=True, repr=False)
class Own:
    """What a member brings: its key, the roster's Ed25519 keys, and the committed opening.

    `box_key` is the operator's X25519 key, which shares are released to.
    """

    key: KeyPair
    public_keys: Mapping[DeviceId, bytes]
    opening: ModelOpening
    box_key: bytes


@dataclass(frozen=True, repr=False)
class Answer:
    """What follows from a message: the next state, and what to send.

    `vector` is the object that a masked input names, for the aggregator to fetch.
    """

    state: MemberState
    message: FromMember
    vector: bytes | None = None


def advertise(
    group: Group, key: KeyPair, earlier: MemberState | None
) -> tuple[Advertised, Advertisement]:
    """Takes a place in the group. `earlier` is the last state this device had in the task."""
    check_unseated(earlier, group)
    if key.id not in group.device_to_weight:
        raise Rejected(Reason.NOT_IN_ROSTER, f"{device_text(key.id)} is not in the group")
    keys = MaskKeys.generate()
    return Advertised(Seat(group, key.id), keys.channel, keys.mask), keys.advertise(group, key)


def answer(state: MemberState, message: ToMember, own: Own) -> Answer:
    """Takes the next step; raises `Rejected` and changes nothing otherwise."""
    check_next(state, message)
    match state, message:
        case Advertised(), KeyList():
            return deal(state, message, own.public_keys)
        case Dealt(), Delivery():
            return mask_input(state, message, own.opening)
        case Masked(), Survivors():
            return confirm(state, message, own.key)
        case Confirmed(), Confirmations():
            return release(state, message, own.public_keys, own.box_key)
        case _:
            raise Rejected(Reason.OUT_OF_PHASE, type(message).__name__)


def check_next(state: MemberState, message: ToMember) -> None:
    """Rule 1."""
    seat, place = state.seat, ORDER.index(type(message))
    name = type(message).__name__
    if message.group != seat.group.digest:
        raise Rejected(Reason.GROUP_MISMATCH, f"{name} for another group or round")
    if place > len(seat.answered):
        raise Rejected(Reason.OUT_OF_PHASE, f"{name} is not what comes next")
    if place < len(seat.answered):
        if seat.answered[place] == message_digest(message):
            raise Rejected(Reason.DUPLICATE, f"this {name} was answered")
        raise Rejected(Reason.EQUIVOCATION, f"a second {name}")


def deal(state: Advertised, message: KeyList, public_keys: Mapping[DeviceId, bytes]) -> Answer:
    """Shares a fresh seed and the mask key among the members whose keys are listed."""
    seat, group = state.seat, state.seat.group
    device_to_keys = check_key_list(group, message, public_keys)
    if seat.device not in device_to_keys:
        raise Rejected(Reason.NOT_IN_ROSTER, "this member's keys are not in the list")
    seed = secrets.token_bytes(SECRET_BYTES)
    number = len(group.members)
    seed_shares = split(seed, group.threshold, number)
    mask_shares = split(state.mask, group.threshold, number)
    dealt = []
    for peer, keys in device_to_keys.items():
        point = point_of(group, peer) - 1
        pair = (seed_shares[point], mask_shares[point])
        channel = channel_secret(group, state.channel, keys.channel_key, seat.device, peer)
        dealt.append(
            DealtShares(
                peer,
                seal_shares(channel, group, seat.device, peer, pair),
                share_digest(group, ShareKind.SEED, seat.device, peer, pair[0]),
                share_digest(group, ShareKind.MASK_KEY, seat.device, peer, pair[1]),
            )
        )
    after = Dealt(_answered(seat, message), state.channel, state.mask, seed, message.advertisements)
    own = seed_digest(group, seat.device, seed)
    return Answer(after, Dealing(group.digest, own, tuple(dealt)))


def mask_input(
    state: Dealt, message: Delivery, opening: ModelOpening, expander: Expand = expand
) -> Answer:
    """Adds to the weighted opening the own mask and one mask for every other dealer.

    Of two members the one with the lower id adds what the other subtracts. A dealer whose
    share does not open is masked against all the same: its share counts as withheld. Only our
    own must open: who passes messages on may have given us what was dealt to somebody else.
    """
    seat, group = state.seat, state.seat.group
    device_to_keys = {item.device: item for item in state.keys}
    dealers = message.dealers
    _check_members(dealers, device_to_keys, seat, "dealers")
    held = _opened(state, message, device_to_keys)
    if seat.device not in {each.dealer for each in held}:
        raise Rejected(Reason.SHARE_INVALID, "this was dealt to another member")
    lengths = Lengths(len(opening.theta), len(opening.blinding) // SCALAR_BYTES)
    total = Total(lengths)
    total.add_weighted(opening.theta, opening.blinding, group.device_to_weight[seat.device])
    total.add(expander(state.seed, lengths))
    for dealer in dealers:
        if dealer == seat.device:
            continue
        seed = pair_seed(group, state.mask, seat.device, device_to_keys[dealer])
        if seat.device < dealer:
            total.add(expander(seed, lengths))
        else:
            total.subtract(expander(seed, lengths))
    vector = encode(MaskedVector(total.theta, total.blinding))
    delivery = dealers_digest(group.digest, dealers)
    return Answer(
        Masked(_answered(seat, message), dealers, held),
        MaskedInput(group.digest, delivery, split_object(vector)[0]),
        vector,
    )


def _opened(
    state: Dealt, message: Delivery, device_to_keys: Mapping[DeviceId, Advertisement]
) -> tuple[HeldShares, ...]:
    """The delivered shares that open."""
    device, group = state.seat.device, state.seat.group
    held = []
    for item in message.shares:
        public = device_to_keys[item.dealer].channel_key
        channel = channel_secret(group, state.channel, public, item.dealer, device)
        with suppress(Rejected):
            pair = open_shares(channel, group, item.dealer, device, item.sealed)
            held.append(HeldShares(item.dealer, *pair))
    return tuple(held)


def confirm(state: Masked, message: Survivors, key: KeyPair) -> Answer:
    """Signs the list of survivors, which must be dealers and include this member."""
    seat, survivors = state.seat, message.devices
    _check_members(survivors, state.dealers, seat, "survivors")
    signature = key.sign(survivors_statement(seat.group, survivors))
    after = Confirmed(_answered(seat, message), state.dealers, state.held, survivors)
    return Answer(after, Confirmation(seat.group.digest, seat.device, signature))


def release(
    state: Confirmed,
    message: Confirmations,
    public_keys: Mapping[DeviceId, bytes],
    box_key: bytes,
) -> Answer:
    """Releases one share of each dealer, after enough survivors signed the same list."""
    seat, group = state.seat, state.seat.group
    signers = [item.device for item in message.confirmations]
    _check_members(tuple(signers), state.survivors, seat, "confirmations", included=False)
    statement = survivors_statement(group, state.survivors)
    for item in message.confirmations:
        if item.group != group.digest:
            raise Rejected(Reason.GROUP_MISMATCH, "a confirmation for another group or round")
        verify_signature(public_keys[item.device], statement, item.signature)
    shares = tuple(
        ReleasedShare(held.dealer, ShareKind.SEED, held.seed)
        if held.dealer in state.survivors
        else ReleasedShare(held.dealer, ShareKind.MASK_KEY, held.mask)
        for held in state.held
    )
    sealed = seal_release(box_key, Release(group.digest, shares))
    return Answer(Released(_answered(seat, message)), sealed)


def _check_members(
    devices: tuple[DeviceId, ...],
    among: Mapping[DeviceId, Advertisement] | tuple[DeviceId, ...],
    seat: Seat,
    what: str,
    *,
    included: bool = True,
) -> None:
    """Rule 3, and that a list is sorted, distinct, known, and includes this member."""
    if list(devices) != sorted(set(devices)):
        raise Rejected(Reason.MALFORMED, f"{what} are not sorted, or not distinct")
    if not set(devices) <= set(among):
        raise Rejected(Reason.NOT_IN_ROSTER, f"{what} that were not there a step earlier")
    if included and seat.device not in devices:
        raise Rejected(Reason.NOT_IN_ROSTER, f"this member is not among the {what}")
    if len(devices) < seat.group.threshold:
        raise Rejected(
            Reason.GROUP_TOO_SMALL, f"{len(devices)} {what}, {seat.group.threshold} are needed"
        )


def _answered(seat: Seat, message: ToMember) -> Seat:
    return replace(seat, answered=(*seat.answered, message_digest(message)))
