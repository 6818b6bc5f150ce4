"""The aggregator's side of one group: what it has collected, and what it sends next.

The rules it keeps:

1. a message is about this group, of the step that is open, from a member that took every
   step before; the first one stands;
2. a step closes when all who can have answered, or at its deadline, and then with no fewer
   members than the threshold: otherwise the group has failed and opens nothing;
3. there is one key list, one set of dealers, one list of survivors.

Pure: everything collected is public or sealed to members, but for the shares they release, which
the operator alone may see. Masked vectors are kept outside, by CID: they are as long as the model.
Whoever fetches one checks its lengths before it is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from functools import cached_property
from typing import Annotated

from zkpot.aggregation import MAX_GROUP
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, device_text
from zkpot.keys import verify_signature
from zkpot.secure.exchange import (
    MAX_RELEASE_BYTES,
    Advertisement,
    Confirmation,
    Confirmations,
    Dealing,
    DeliveredShares,
    Delivery,
    FromMember,
    KeyList,
    MaskedInput,
    Release,
    SealedRelease,
    ShareKind,
    Survivors,
    ToMember,
    dealers_digest,
    message_digest,
)
from zkpot.secure.groups import Group
from zkpot.secure.keys import check_advertisement, survivors_statement
from zkpot.secure.shares import share_digest
from zkpot.wire.codec import Max, decode, encode

MAX_DEALING_BYTES = 64 * 1024
"""To 192 members, at about 210 bytes each."""


@unique
class Step(IntEnum):
    """What the group is waiting for."""

    KEYS = 1
    SHARES = 2
    INPUTS = 3
    CONFIRMATIONS = 4
    RELEASES = 5
    DONE = 6


STEP_TO_MESSAGE: dict[Step, type[FromMember]] = {
    Step.KEYS: Advertisement,
    Step.SHARES: Dealing,
    Step.INPUTS: MaskedInput,
    Step.CONFIRMATIONS: Confirmation,
    Step.RELEASES: SealedRelease,
}


@dataclass(frozen=True)
class Dealt:
    """Who dealt what: an encoded dealing, read once; a group's are as many as its square."""

    device: DeviceId
    encoded: Annotated[bytes, Max(MAX_DEALING_BYTES)]

    @cached_property
    def dealing(self) -> Dealing:
        """What was dealt."""
        return decode(Dealing, self.encoded, limit=MAX_DEALING_BYTES)


@dataclass(frozen=True)
class Masked:
    """Whose masked vector has which CID."""

    device: DeviceId
    vector: Cid


@dataclass(frozen=True)
class Released:
    """An encoded release, of the shares that hash to what their dealers announced."""

    device: DeviceId
    encoded: Annotated[bytes, Max(MAX_RELEASE_BYTES)]

    @cached_property
    def release(self) -> Release:
        """What was released."""
        return decode(Release, self.encoded, limit=MAX_RELEASE_BYTES)


@dataclass(frozen=True)
class Answered:
    """Whose answer came in which step, by its digest."""

    step: Step
    device: DeviceId
    message: Digest


@dataclass(frozen=True)
class Session:
    """One group on its way to its sum."""

    group: Group
    step: Step = Step.KEYS
    answered: Annotated[tuple[Answered, ...], Max(5 * MAX_GROUP)] = ()
    advertisements: Annotated[tuple[Advertisement, ...], Max(MAX_GROUP)] = ()
    dealings: Annotated[tuple[Dealt, ...], Max(MAX_GROUP)] = ()
    masked: Annotated[tuple[Masked, ...], Max(MAX_GROUP)] = ()
    confirmations: Annotated[tuple[Confirmation, ...], Max(MAX_GROUP)] = ()
    releases: Annotated[tuple[Released, ...], Max(MAX_GROUP)] = ()

    def answers(self, step: Step) -> dict[DeviceId, Digest]:
        """Who answered in `step`, sorted by id, and the digest of the answer."""
        found = {item.device: item.message for item in self.answered if item.step is step}
        return dict(sorted(found.items()))

    def members(self, step: Step) -> tuple[DeviceId, ...]:
        """Those who took `step`, sorted by id."""
        return tuple(self.answers(step))

    @property
    def expected(self) -> tuple[DeviceId, ...]:
        """Who may answer in the open step: those who took the one before."""
        if self.step is Step.KEYS:
            return self.group.devices
        return self.members(Step(self.step - 1))

    @property
    def complete(self) -> bool:
        """Whether nobody is waited for any more."""
        return self.step is Step.DONE or self.members(self.step) == self.expected

    @property
    def dealers(self) -> tuple[DeviceId, ...]:
        """Whose masks are in the inputs."""
        return self.members(Step.SHARES)

    @property
    def survivors(self) -> tuple[DeviceId, ...]:
        """Whose inputs are in the sum."""
        return self.members(Step.INPUTS)


def take(
    session: Session,
    sender: DeviceId,
    message: Advertisement | Dealing | MaskedInput | Confirmation,
    public_keys: Mapping[DeviceId, bytes],
) -> Session:
    """The session with one more answer; raises `Rejected` and changes nothing otherwise."""
    check_next(session, sender, message)
    group = session.group
    match message:
        case Advertisement():
            if message.device != sender:
                raise Rejected(Reason.BAD_SIGNATURE, "another member's keys")
            check_advertisement(group, message, public_keys)
            _check_fresh(session, message)
            session = replace(session, advertisements=(*session.advertisements, message))
        case Dealing():
            if tuple(item.recipient for item in message.shares) != session.members(Step.KEYS):
                raise Rejected(Reason.MALFORMED, "shares for other members than were listed")
            session = replace(session, dealings=(*session.dealings, Dealt(sender, encode(message))))
        case MaskedInput():
            if message.delivery != dealers_digest(group.digest, session.dealers):
                raise Rejected(Reason.MALFORMED, "masked with other members than have dealt")
            session = replace(session, masked=(*session.masked, Masked(sender, message.vector)))
        case Confirmation():
            if message.device != sender:
                raise Rejected(Reason.BAD_SIGNATURE, "another member's confirmation")
            statement = survivors_statement(group, session.survivors)
            verify_signature(public_keys[sender], statement, message.signature)
            session = replace(session, confirmations=(*session.confirmations, message))
    return _answered(session, sender, message)


def take_release(
    session: Session, sender: DeviceId, message: SealedRelease, release: Release
) -> Session:
    """`take` for the message that `release` was sealed in."""
    check_next(session, sender, message)
    released = Released(sender, encode(true_shares(session, sender, release)))
    session = replace(session, releases=(*session.releases, released))
    return _answered(session, sender, message)


def close(session: Session) -> Session:
    """Ends the open step; raises `Rejected` if too few answered: the group has failed."""
    group, step = session.group, session.step
    if step is Step.DONE:
        raise Rejected(Reason.OUT_OF_PHASE, "all steps are done")
    number = len(session.members(step))
    if number < group.threshold:
        raise Rejected(
            Reason.GROUP_TOO_SMALL,
            f"{step.name.lower()}: {number} of {len(group.members)} members, "
            f"{group.threshold} are needed",
        )
    return replace(session, step=Step(step + 1))


def told(session: Session) -> dict[DeviceId, ToMember]:
    """What those who may answer in the open step are asked, the same every time."""
    name, members = session.group.digest, session.expected
    match session.step:
        case Step.SHARES:
            listed = sorted(session.advertisements, key=lambda item: item.device)
            return dict.fromkeys(members, KeyList(name, tuple(listed)))
        case Step.INPUTS:
            return {member: _delivery(session, member) for member in members}
        case Step.CONFIRMATIONS:
            return dict.fromkeys(members, Survivors(name, members))
        case Step.RELEASES:
            signed = sorted(session.confirmations, key=lambda item: item.device)
            return dict.fromkeys(members, Confirmations(name, tuple(signed)))
        case _:
            return {}


def true_shares(session: Session, sender: DeviceId, message: Release) -> Release:
    """The released shares that are of the right kind and hash to what was announced.

    The others are left out: whether the dealer or the one who released them lies cannot be
    told, and `threshold` good ones are enough.
    """
    survivors = set(session.survivors)
    dealer_to_dealing = {item.device: item.dealing for item in session.dealings}
    wanted = {
        dealer: ShareKind.SEED if dealer in survivors else ShareKind.MASK_KEY
        for dealer in session.dealers
    }
    good = {}
    for item in message.shares:
        if item.dealer in good or wanted.get(item.dealer) is not item.kind:
            continue
        dealt = next(s for s in dealer_to_dealing[item.dealer].shares if s.recipient == sender)
        announced = dealt.seed_digest if item.kind is ShareKind.SEED else dealt.key_digest
        found = share_digest(session.group, item.kind, item.dealer, sender, item.share)
        if found == announced:
            good[item.dealer] = item
    return replace(message, shares=tuple(good.values()))


def check_next(session: Session, sender: DeviceId, message: FromMember) -> None:
    """Rule 1."""
    name, step = type(message).__name__, session.step
    if message.group != session.group.digest:
        raise Rejected(Reason.GROUP_MISMATCH, f"{name} for another group or round")
    for item in session.answered:
        if item.device == sender and STEP_TO_MESSAGE[item.step] is type(message):
            same = item.message == message_digest(message)
            reason = Reason.DUPLICATE if same else Reason.EQUIVOCATION
            raise Rejected(reason, f"{name} of {device_text(sender)} was taken before")
    if STEP_TO_MESSAGE.get(step) is not type(message):
        raise Rejected(Reason.OUT_OF_PHASE, f"{name}, while waiting for {step.name.lower()}")
    if sender not in session.expected:
        raise Rejected(Reason.NOT_IN_ROSTER, f"{device_text(sender)} did not get this far")


def _answered(session: Session, sender: DeviceId, message: FromMember) -> Session:
    answer = Answered(session.step, sender, message_digest(message))
    return replace(session, answered=(*session.answered, answer))


def _check_fresh(session: Session, message: Advertisement) -> None:
    """Members refuse a list that has a key twice: who repeats one must not spoil it for all."""
    taken = {key for item in session.advertisements for key in (item.channel_key, item.mask_key)}
    if message.channel_key == message.mask_key or taken & {message.channel_key, message.mask_key}:
        raise Rejected(Reason.DUPLICATE, "a key that is advertised already")


def _delivery(session: Session, recipient: DeviceId) -> Delivery:
    shares = []
    for dealt in sorted(session.dealings, key=lambda item: item.device):
        own = next(item for item in dealt.dealing.shares if item.recipient == recipient)
        shares.append(DeliveredShares(dealt.device, own.sealed))
    return Delivery(session.group.digest, tuple(shares))
