"""A round's AGGREGATE in secure mode: the pure machine, and real members that answer it."""

from dataclasses import dataclass, field
from typing import get_args

from tests.aggregator.round_kit import (
    BEACON,
    OPERATOR,
    PARENT,
    ROUND,
    TASK_ID,
    make_task,
    named,
)
from tests.secure.kit import key, real_openings

from zkpot.aggregation import GroupTerms
from zkpot.errors import Rejected
from zkpot.ids import DeviceId, Digest, digest
from zkpot.record import Roster, RosterEntry, Verdict, Verdicts
from zkpot.secure.exchange import SealedRelease, ToMember, open_release
from zkpot.secure.groups import group_of, round_groups
from zkpot.secure.member import Own, advertise, answer
from zkpot.secure.session import Session
from zkpot.secure.states import MemberState
from zkpot.verify import RoundTerms
from zkpot.wire.codec import decode_tagged, encode, encode_tagged
from zkpot.wire.envelope import open_as, sign
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.masking import begin

COUNT = 12
KEYS = {each.id: each for each in map(key, range(COUNT))}
OPENINGS = dict(zip(KEYS, real_openings(COUNT), strict=True))


def make_terms() -> RoundTerms:
    """Twelve devices, groups of at most six."""
    task = make_task(
        aggregation="secure",
        groups=GroupTerms(6, 3),
        minimum_devices=4,
        maximum_devices=COUNT,
    )
    roster = Roster.of(RosterEntry(each.public_key, "owner") for each in KEYS.values())
    return RoundTerms(TASK_ID, task, ROUND, PARENT, roster)


def proving() -> at.Proving:
    """Everybody has proven."""
    devices = tuple(sorted(KEYS))
    envelopes = tuple(Digest(digest("envelope", device)) for device in devices)
    sealed = at.SealedCommitments(named("sealed"), Digest(digest("root")), devices, envelopes, ())
    start = at.Start(TASK_ID, ROUND, PARENT, named("model"), named("roster"))
    return at.Proving(start, sealed, at.DrawnBatch(BEACON, named("batch"), 6, 4))


@dataclass(eq=False)
class Round:
    """The machine in `Masking`, its members, and what is under way to the machine."""

    terms: RoundTerms = field(default_factory=make_terms)
    state: at.State = field(init=False)
    effects: tuple[do.Effect, ...] = ()
    members: dict[DeviceId, MemberState] = field(default_factory=dict)
    mail: dict[DeviceId, bytes] = field(default_factory=dict)
    told: dict[tuple[DeviceId, type], set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        verdicts = tuple(Verdict(device, None, 7, None) for device in sorted(KEYS))
        self.verdicts = Verdicts(verdicts)
        step = begin(self.terms, proving(), verdicts)
        groups = round_groups(self.terms, BEACON, sorted(KEYS), self.verdicts.accepted)
        for device, own in KEYS.items():
            self.members[device], message = advertise(group_of(groups, device), own, None)
            self.mail[device] = sign(message, own)
        self._take(step)

    @property
    def masking(self) -> at.Masking:
        """The state, which must be this one."""
        assert isinstance(self.state, at.Masking), type(self.state).__name__
        return self.state

    def session(self, index: int) -> Session:
        """A group's."""
        return self.masking.groups[index].session

    def devices(self, index: int) -> tuple[DeviceId, ...]:
        """A group's members."""
        return self.session(index).group.devices

    def on(self, event: on.Event) -> tuple[do.Effect, ...]:
        """Feeds an event; members take what they are told."""
        self._take(machine.step(self.terms, self.state, event))
        return self.effects

    def kill(self) -> None:
        """Starts the machine again from the disk."""
        stored = encode_tagged(self.state)
        state: at.State = decode_tagged(get_args(at.State), stored)
        assert state == self.state
        self._take(machine.Step(state, machine.resume(self.terms, state)))

    def deliver(self, device: DeviceId, *, fetched: bool = True) -> bytes | None:
        """What a member has last said arrives, and is looked into, or not yet."""
        envelope = self.mail.get(device)
        if envelope is not None:
            self.on(on.SecureReceived(envelope))
            if fetched:
                self.look_into(envelope)
        return envelope

    def look_into(self, envelope: bytes) -> None:
        """A vector is there, or a release opens, if the machine is waiting for it."""
        if do.FetchVector(envelope) in self.effects:
            self.on(on.VectorFetched(envelope, None))
        if do.OpenRelease(envelope) in self.effects:
            sealed = open_as(SealedRelease, envelope, self.terms.roster.public_keys).message
            self.on(on.ReleaseOpened(envelope, open_release(OPERATOR, sealed)))

    def everybody(self, index: int, *, but: tuple[DeviceId, ...] = ()) -> None:
        """All members of a group but some have their say in the open step."""
        for device in self.devices(index):
            if device not in but:
                self.deliver(device)

    def deadline(self, index: int) -> tuple[do.Effect, ...]:
        """The open step of a group takes too long."""
        return self.on(on.DeadlinePassed(self.masking.groups[index].timer))

    def made(self, kind: type) -> list[do.Effect]:
        """The last effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def _take(self, step: machine.Step) -> None:
        self.state, self.effects = step.state, step.effects
        for effect in step.effects:
            if isinstance(effect, do.Send) and isinstance(effect.message, ToMember):
                self._tell(effect.device, effect.message)

    def _tell(self, device: DeviceId, message: ToMember) -> None:
        self.told.setdefault((device, type(message)), set()).add(encode(message))
        own = Own(KEYS[device], self.terms.roster.public_keys, OPENINGS[device], OPERATOR.box_key)
        try:
            found = answer(self.members[device], message, own)
        except Rejected:
            return
        self.members[device] = found.state
        self.mail[device] = sign(found.message, KEYS[device])
