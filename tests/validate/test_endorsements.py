"""Which endorsements count, and what a device does without enough of them."""

from dataclasses import dataclass, field, replace

import pytest
from tests.protocol.rounds import OPERATOR, key
from tests.validate.world import DEVICES, VALIDATORS, Operator

from zkpot.cid import split_object
from zkpot.endorsement import Endorsements, announcement_digest, endorse
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Round, TaskId
from zkpot.keys import KeyPair
from zkpot.link import Incoming
from zkpot.wire import topics
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Announcement, Endorsement, Message, Phase, Status
from zkpot_agent.endorsed import EndorsedAnnouncements
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import machine
from zkpot_agent.round import states as at


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture
def announcement(operator: Operator) -> Announcement:
    """A batch is drawn."""
    name = split_object(b"object")[0]
    return Announcement(
        operator.task_id,
        Round(3),
        Phase.PROVE,
        operator.head,
        operator.task.genesis,
        operator.roster,
        sealed=name,
        beacon=Beacon(bytes([3]) * 32),
        batch=name,
    )


@pytest.fixture
def counted(operator: Operator) -> Endorsements:
    return Endorsements(operator.task_id, operator.task)


def test_a_quorum_of_different_validators_is_enough(
    counted: Endorsements, announcement: Announcement
) -> None:
    assert counted.missing(announcement) == 2
    counted.add(sign(endorse(announcement), VALIDATORS[0]))
    assert counted.missing(announcement) == 1
    counted.add(sign(endorse(announcement), VALIDATORS[2]))
    assert counted.missing(announcement) == 0
    counted.add(sign(endorse(announcement), VALIDATORS[1]))
    assert counted.missing(announcement) == 0


def test_the_same_validator_counts_once(counted: Endorsements, announcement: Announcement) -> None:
    for _ in range(3):
        counted.add(sign(endorse(announcement), VALIDATORS[0]))
    assert counted.missing(announcement) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"beacon": Beacon(bytes([4]) * 32)},
        {"batch": split_object(b"another")[0]},
        {"sealed": split_object(b"another")[0]},
        {"model": split_object(b"another")[0]},
        {"phase": Phase.SEAL},
        {"round": Round(4)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_endorsement_of_anything_else_does_not_count(
    counted: Endorsements, announcement: Announcement, change: dict[str, object]
) -> None:
    other = replace(announcement, **change)  # type: ignore[arg-type]
    assert announcement_digest(other) != announcement_digest(announcement)
    for validator in VALIDATORS:
        counted.add(sign(endorse(other), validator))
    assert counted.missing(other) == 0
    assert counted.missing(announcement) == 2


def forged(message: Message, signer: KeyPair, pretended: KeyPair) -> bytes:
    """An envelope that names another signer than its own."""
    envelope = sign(message, signer)
    assert envelope.count(signer.id) == 1
    return envelope.replace(signer.id, pretended.id)


def test_what_is_not_a_validators_is_refused(
    operator: Operator, counted: Endorsements, announcement: Announcement
) -> None:
    good = endorse(announcement)
    for envelope, reason in (
        (sign(good, OPERATOR), Reason.NOT_IN_ROSTER),
        (sign(good, DEVICES[0]), Reason.NOT_IN_ROSTER),
        (forged(good, key(77), VALIDATORS[0]), Reason.BAD_SIGNATURE),
        (sign(Status(1, online=True, activity="x"), VALIDATORS[0]), Reason.UNKNOWN_TYPE),
        (sign(replace(good, task=TaskId(bytes(32))), VALIDATORS[0]), Reason.UNKNOWN_TASK),
        (sign(replace(good, phase=Phase.COMMIT), VALIDATORS[0]), Reason.OUT_OF_PHASE),
        (b"", Reason.MALFORMED),
    ):
        with pytest.raises(Rejected) as caught:
            counted.add(envelope)
        assert caught.value.reason is reason
    assert counted.missing(announcement) == operator.task.quorum


def test_a_validator_cannot_endorse_two_things(
    counted: Endorsements, announcement: Announcement
) -> None:
    counted.add(sign(endorse(announcement), VALIDATORS[0]))
    other = replace(announcement, beacon=Beacon(bytes([4]) * 32))
    with pytest.raises(Rejected) as caught:
        counted.add(sign(endorse(other), VALIDATORS[0]))
    assert caught.value.reason is Reason.EQUIVOCATION
    past = replace(announcement, round=Round(2))
    with pytest.raises(Rejected) as caught:
        counted.add(sign(endorse(past), VALIDATORS[0]))
    assert caught.value.reason is Reason.STALE_ROUND
    assert counted.missing(announcement) == 1


# --- the device -----------------------------------------------------------------------------


@dataclass
class Device:
    """A device's machine behind its gate; what it would do is kept."""

    operator: Operator
    final_only: bool = False
    state: at.State = field(default_factory=lambda: at.Idle(Round(0)))
    did: list[do.Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = EndorsedAnnouncements(
            self.operator.task_id, self._act, final_only=self.final_only
        )

    def _act(self, announcement: Announcement) -> None:
        step = machine.step(self.state, on.Announced(announcement))
        self.state = step.state
        self.did += step.effects

    def endorse(self, announcement: Announcement, *validators: KeyPair) -> None:
        """Endorsements arrive."""
        for validator in validators:
            message = endorse(announcement)
            topic = topics.endorsement(announcement.task, validator.id, announcement.phase)
            assert topics.is_endorsement(announcement.task, topic)
            self.gate.endorsed(Incoming(topic, sign(message, validator), retained=False))

    def commits(self, announcement: Announcement) -> None:
        """It has committed in this round."""
        joined = replace(announcement, phase=Phase.COMMIT, sealed=None, beacon=None, batch=None)
        self.gate.announced(joined)
        self.state = at.Committed(joined, b"commitment", None)


def test_a_device_proves_only_with_a_quorum(operator: Operator, announcement: Announcement) -> None:
    device = Device(operator)
    device.gate.begin(operator.task)
    device.commits(announcement)
    device.gate.announced(announcement)
    device.endorse(announcement, VALIDATORS[0])
    assert isinstance(device.state, at.Committed)
    device.endorse(replace(announcement, beacon=Beacon(bytes([4]) * 32)), *VALIDATORS[1:])
    assert isinstance(device.state, at.Committed)
    assert not any(isinstance(effect, do.Prove) for effect in device.did)


def test_a_device_proves_as_soon_as_there_is_a_quorum(
    operator: Operator, announcement: Announcement
) -> None:
    device = Device(operator)
    device.endorse(announcement, VALIDATORS[0])
    device.gate.begin(operator.task)
    device.commits(announcement)
    device.gate.announced(announcement)
    assert isinstance(device.state, at.Committed)
    device.endorse(announcement, VALIDATORS[1])
    assert isinstance(device.state, at.Proving)
    assert sum(isinstance(effect, do.Prove) for effect in device.did) == 1


def test_what_waits_is_replaced_by_what_is_announced_later(
    operator: Operator, announcement: Announcement
) -> None:
    device = Device(operator)
    device.gate.begin(operator.task)
    device.commits(announcement)
    device.gate.announced(announcement)
    device.gate.announced(replace(announcement, phase=Phase.FAILED, reason="too few"))
    assert isinstance(device.state, at.Idle)
    device.endorse(announcement, *VALIDATORS)
    assert isinstance(device.state, at.Idle)


@pytest.mark.parametrize("final_only", [False, True])
def test_a_model_is_swapped_in_at_once_or_when_it_is_final(
    operator: Operator, announcement: Announcement, final_only: bool
) -> None:
    device = Device(operator, final_only=final_only)
    device.gate.begin(operator.task)
    closed = replace(announcement, phase=Phase.CLOSED, record=split_object(b"record")[0])
    device.gate.announced(closed)
    kept = do.KeepModel(split_object(b"record")[0])
    assert (kept in device.did) is not final_only
    device.endorse(closed, VALIDATORS[0])
    assert (kept in device.did) is not final_only
    device.endorse(closed, VALIDATORS[1])
    assert device.did.count(kept) == 1


def test_a_task_without_validators_needs_none(announcement: Announcement) -> None:
    alone = Operator(quorum=0)
    device = Device(alone, final_only=True)
    device.gate.begin(alone.task)
    device.commits(announcement)
    device.gate.announced(announcement)
    assert isinstance(device.state, at.Proving)


def test_early_endorsements_are_bounded(operator: Operator, announcement: Announcement) -> None:
    device = Device(operator)
    for number in range(10_000):
        device.gate.endorsed(Incoming(f"made/up/{number}", bytes(100), retained=True))
    device.endorse(announcement, *VALIDATORS)
    assert len(device.gate._early) < 1000
    device.gate.begin(operator.task)


def test_an_endorsement_names_what_it_is_about(announcement: Announcement) -> None:
    assert endorse(announcement) == Endorsement(
        announcement.task, Round(3), Phase.PROVE, announcement_digest(announcement)
    )
