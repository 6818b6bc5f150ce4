"""The device's round, one transition at a time."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from tests.agent import members
from tests.agent.announcements import TASK, announcement, cid

from zkpot.errors import Reason
from zkpot.ids import Beacon, Digest, Round
from zkpot.wire.codec import decode_tagged, encode_tagged
from zkpot.wire.messages import (
    Commitment,
    Decline,
    Opening,
    Phase,
    Receipt,
    RecordRefusal,
    RecordSignature,
    Submission,
)
from zkpot.wire.topics import Kind
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import machine
from zkpot_agent.round import states as at
from zkpot_agent.round.step import Step

JOINED = announcement(2, Phase.COMMIT)
DRAWN = announcement(2, Phase.PROVE)
ROUND = Round(2)
IDLE = at.Idle(Round(1))
OVER = at.Idle(ROUND)
TRAINING = at.Training(JOINED)
COMMITTED = at.Committed(JOINED, b"commitment", cid("wellformed"))
assert DRAWN.sealed is not None
assert DRAWN.beacon is not None
assert DRAWN.batch is not None
PROVING = at.Proving(JOINED, b"commitment", DRAWN.sealed, DRAWN.beacon, DRAWN.batch)
SUBMITTED = at.Submitted(
    JOINED, b"commitment", DRAWN.sealed, DRAWN.beacon, DRAWN.batch, 7, cid("proof")
)
OPENING = at.Opening(SUBMITTED, cid("verdicts 2"))
OPENED = at.Opened(SUBMITTED, cid("opening"))
GROUP = members.group(2)
KEYS = members.advertisement(2)
TOLD = tuple(members.told(2, place) for place in range(members.STEPS))
ANSWERS = (KEYS, *(members.answer(2, place) for place in range(members.STEPS)))


def seated(told: int, answers: int) -> at.Seated:
    """In the group, so far into the exchange."""
    return at.Seated(
        SUBMITTED,
        cid("verdicts 2"),
        GROUP,
        tuple(map(encode_tagged, TOLD[:told])),
        tuple(map(encode_tagged, ANSWERS[:answers])),
    )


SEATED = seated(0, 1)
ANSWERING = seated(1, 1)
RELEASED = seated(4, 5)
STATES: tuple[at.State, ...] = (
    IDLE,
    TRAINING,
    COMMITTED,
    PROVING,
    SUBMITTED,
    OPENING,
    OPENED,
    SEATED,
)
IN_ROUND = STATES[1:]

SEND_COMMITMENT = do.Send(
    Kind.COMMITMENT, Commitment(TASK, ROUND, JOINED.parent, b"commitment", cid("wellformed"))
)
SEND_SUBMISSION = do.Send(Kind.SUBMISSION, Submission(TASK, ROUND, JOINED.parent, 7, cid("proof")))
SEND_OPENING = do.Send(Kind.OPENING, Opening(TASK, ROUND, JOINED.parent, cid("opening")))

by_state = pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
in_round = pytest.mark.parametrize("state", IN_ROUND, ids=lambda state: type(state).__name__)


def _announced(phase: Phase, round_number: int = 2) -> on.Announced:
    return on.Announced(announcement(round_number, phase))


@pytest.mark.parametrize(
    ("before", "event", "after", "effects"),
    [
        (IDLE, _announced(Phase.COMMIT), TRAINING, (do.Train(JOINED),)),
        (
            TRAINING,
            on.Trained(ROUND, b"commitment", cid("wellformed")),
            COMMITTED,
            (SEND_COMMITMENT,),
        ),
        (COMMITTED, _announced(Phase.SEAL), COMMITTED, ()),
        (COMMITTED, _announced(Phase.PROVE), PROVING, (do.Prove(PROVING),)),
        (PROVING, on.Proved(ROUND, 7, cid("proof")), SUBMITTED, (SEND_SUBMISSION,)),
        (
            SUBMITTED,
            _announced(Phase.AGGREGATE),
            OPENING,
            (do.Contribute(SUBMITTED, cid("verdicts 2")),),
        ),
        (OPENING, on.OpeningSealed(ROUND, cid("opening")), OPENED, (SEND_OPENING,)),
        (OPENED, _announced(Phase.RECORD), OPENED, ()),
        (
            OPENED,
            on.RecordProposed(ROUND, cid("r")),
            OPENED,
            (do.CheckRecord(OPENED, cid("r")),),
        ),
        (
            OPENED,
            on.RecordChecked(ROUND, cid("r"), None, ""),
            OPENED,
            (do.Send(Kind.RECORD, RecordSignature(TASK, ROUND, cid("r"))),),
        ),
        (
            OPENING,
            on.Advertised(ROUND, GROUP, KEYS, b"member"),
            SEATED,
            (do.KeepMember(ROUND, b"member"), do.Send(Kind.SECURE, KEYS)),
        ),
        (SEATED, on.Told(TOLD[0]), ANSWERING, (do.Answer(ANSWERING),)),
        (
            ANSWERING,
            on.Answered(ROUND, ANSWERS[1], b"dealt"),
            seated(1, 2),
            (do.KeepMember(ROUND, b"dealt"), do.Send(Kind.SECURE, ANSWERS[1])),
        ),
        (
            RELEASED,
            on.RecordProposed(ROUND, cid("r")),
            RELEASED,
            (do.CheckRecord(RELEASED, cid("r")),),
        ),
        (
            RELEASED,
            on.RecordChecked(ROUND, cid("r"), None, ""),
            RELEASED,
            (do.Send(Kind.RECORD, RecordSignature(TASK, ROUND, cid("r"))),),
        ),
        (
            OPENED,
            _announced(Phase.CLOSED),
            OVER,
            (do.Forget(ROUND), do.KeepModel(cid("record 2"))),
        ),
    ],
    ids=[
        "joins",
        "commits",
        "waits for the batch",
        "proves",
        "submits",
        "opens",
        "sends the opening",
        "waits for the record",
        "checks the record",
        "signs the record",
        "takes its place in the group",
        "is asked",
        "answers",
        "checks the record of its sum",
        "signs the record of its sum",
        "ends",
    ],
)
def test_an_undisturbed_round(
    before: at.State, event: on.Event, after: at.State, effects: tuple[do.Effect, ...]
) -> None:
    assert machine.step(before, event) == Step(after, effects)


@in_round
def test_a_later_round_ends_the_one_under_way(state: at.State) -> None:
    later = announcement(4, Phase.COMMIT)
    found = machine.step(state, on.Announced(later))
    assert found == Step(at.Training(later), (do.Forget(ROUND), do.Train(later)))


@by_state
@pytest.mark.parametrize("phase", [Phase.SEAL, Phase.PROVE, Phase.AGGREGATE, Phase.RECORD])
def test_a_round_that_is_past_committing_is_missed(state: at.State, phase: Phase) -> None:
    found = machine.step(state, _announced(phase, 5))
    assert found.state == at.Idle(Round(5))
    forgotten = () if state == IDLE else (do.Forget(ROUND),)
    assert found.effects == forgotten


@by_state
def test_the_model_of_a_missed_round_is_kept(state: at.State) -> None:
    found = machine.step(state, _announced(Phase.CLOSED, 5))
    assert found.state == at.Idle(Round(5))
    assert found.effects[-1] == do.KeepModel(cid("record 5"))


def test_a_device_that_gave_up_keeps_the_model_too() -> None:
    gone = machine.step(PROVING, on.GaveUp(ROUND, "out of memory")).state
    found = machine.step(gone, _announced(Phase.CLOSED))
    assert found == Step(OVER, (do.KeepModel(cid("record 2")),))


@in_round
def test_a_failed_round_ends_without_a_model(state: at.State) -> None:
    found = machine.step(state, _announced(Phase.FAILED))
    assert found == Step(OVER, (do.Forget(ROUND),))


@by_state
@pytest.mark.parametrize("phase", list(Phase))
def test_an_earlier_round_is_old_news(state: at.State, phase: Phase) -> None:
    assert machine.step(state, _announced(phase, 0)) == Step(state)


@pytest.mark.parametrize("phase", [Phase.SEAL, Phase.PROVE, Phase.AGGREGATE])
def test_training_that_is_too_late_ends(phase: Phase) -> None:
    found = machine.step(TRAINING, _announced(phase))
    assert found.state == OVER
    assert found.effects[0] == do.Forget(ROUND)
    assert isinstance(found.effects[1], do.LogIncident)


@pytest.mark.parametrize("state", [COMMITTED, PROVING])
def test_verdicts_without_our_proof_end_the_round(state: at.State) -> None:
    found = machine.step(state, _announced(Phase.AGGREGATE))
    assert found.state == OVER
    assert found.effects[0] == do.Forget(ROUND)


def test_a_device_that_ended_its_round_does_not_join_it_again() -> None:
    assert machine.step(OVER, _announced(Phase.COMMIT)) == Step(OVER)


@pytest.mark.parametrize("state", [PROVING, SUBMITTED])
@pytest.mark.parametrize(
    "change",
    [{"beacon": Digest(bytes(32))}, {"batch": cid("easier")}, {"beacon": None}, {"batch": None}],
)
def test_a_second_batch_is_refused_and_noted(state: at.State, change: dict[str, Any]) -> None:
    second = announcement(2, Phase.PROVE, **change)
    found = machine.step(state, on.Announced(second))
    assert found.state == state
    assert [type(effect) for effect in found.effects] == [do.LogIncident]


@pytest.mark.parametrize("state", [PROVING, SUBMITTED])
def test_the_same_batch_again_is_nothing(state: at.State) -> None:
    assert machine.step(state, _announced(Phase.PROVE)) == Step(state)


@pytest.mark.parametrize("missing", ["sealed", "beacon", "batch"])
def test_a_draw_that_is_incomplete_is_ignored(missing: str) -> None:
    event = on.Announced(replace(DRAWN, **{missing: None}))  # type: ignore[arg-type]
    assert machine.step(COMMITTED, event) == Step(COMMITTED)


def test_verdicts_that_are_not_named_are_ignored() -> None:
    event = on.Announced(announcement(2, Phase.AGGREGATE, verdicts=None))
    assert machine.step(SUBMITTED, event) == Step(SUBMITTED)


@in_round
def test_giving_up_ends_the_round_and_says_why(state: at.State) -> None:
    found = machine.step(state, on.GaveUp(ROUND, "why"))
    assert found == Step(OVER, (do.Forget(ROUND), do.LogIncident(ROUND, "why")))


def test_a_wrong_record_is_refused_with_its_reason() -> None:
    event = on.RecordChecked(ROUND, cid("r"), Reason.SUM_MISMATCH, "x" * 500)
    found = machine.step(OPENED, event)
    refusal = RecordRefusal(TASK, ROUND, cid("r"), Reason.SUM_MISMATCH, "x" * 200)
    assert found.state == OPENED
    assert found.effects[0] == do.Send(Kind.RECORD, refusal)
    assert isinstance(found.effects[1], do.LogIncident)


# --- in a group -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(members.STEPS))
def test_the_same_message_again_is_given_the_same_answer_again(place: int) -> None:
    found = machine.step(RELEASED, on.Told(TOLD[place]))
    assert found == Step(RELEASED, (do.Send(Kind.SECURE, ANSWERS[place + 1]),))


@pytest.mark.parametrize("place", range(members.STEPS))
def test_another_message_in_an_answered_place_is_noted_and_never_answered(place: int) -> None:
    found = machine.step(RELEASED, on.Told(members.told(2, place, "other")))
    assert found.state == RELEASED
    assert [type(effect) for effect in found.effects] == [do.LogIncident]


def test_a_message_that_is_being_answered_is_neither_answered_twice_nor_replaced() -> None:
    assert machine.step(ANSWERING, on.Told(TOLD[0])) == Step(ANSWERING)
    other = machine.step(ANSWERING, on.Told(members.told(2, 0, "other")))
    assert other.state == ANSWERING
    assert [type(effect) for effect in other.effects] == [do.LogIncident]


@pytest.mark.parametrize("state", [SEATED, ANSWERING])
@pytest.mark.parametrize("place", range(2, members.STEPS))
def test_a_step_cannot_be_skipped(state: at.State, place: int) -> None:
    assert machine.step(state, on.Told(TOLD[place])) == Step(state)


@by_state
def test_messages_of_another_group_or_round_are_ignored(state: at.State) -> None:
    assert machine.step(state, on.Told(members.told(1, 0))) == Step(state)


def test_a_refused_message_leaves_its_place_free() -> None:
    found = machine.step(ANSWERING, on.Refused(ROUND, "x" * 500))
    assert found.state == SEATED
    (incident,) = found.effects
    assert isinstance(incident, do.LogIncident)
    assert incident.what.startswith("refused a KeyList: x")
    assert len(incident.what) == 200
    other = machine.step(SEATED, on.Told(members.told(2, 0, "other")))
    assert isinstance(other.effects[0], do.Answer)


BASIS = (
    {"model": cid("a model made for one device")},
    {"roster": cid("a roster with other owners")},
    {"parent": Digest(bytes(32))},
)


@pytest.mark.parametrize("change", BASIS, ids=["model", "roster", "parent"])
@pytest.mark.parametrize(
    ("state", "phase"),
    [(COMMITTED, Phase.PROVE), (SUBMITTED, Phase.AGGREGATE)],
    ids=["drawn", "judged"],
)
def test_a_round_goes_on_only_from_what_we_joined_it_with(
    state: at.State, phase: Phase, change: dict[str, Any]
) -> None:
    """Nobody endorses COMMIT: another model or roster than ours is endorsed, so ours is false."""
    endorsed = on.Announced(announcement(2, phase, **change))
    step = machine.step(state, endorsed)
    assert step.state == state
    assert [type(effect) for effect in step.effects] == [do.LogIncident]


@pytest.mark.parametrize(
    "change",
    [{"sealed": cid("other")}, {"beacon": Beacon(bytes(32))}, {"batch": cid("other")}],
    ids=["sealed", "beacon", "batch"],
)
def test_verdicts_about_another_batch_are_refused_and_noted(change: dict[str, Any]) -> None:
    step = machine.step(SUBMITTED, on.Announced(announcement(2, Phase.AGGREGATE, **change)))
    assert step.state == SUBMITTED
    assert [type(effect) for effect in step.effects] == [do.LogIncident]


@pytest.mark.parametrize("state", [OPENING, seated(0, 1)], ids=["opening", "seated"])
def test_second_verdicts_are_refused_and_noted(state: at.State) -> None:
    again = announcement(2, Phase.AGGREGATE)
    assert machine.step(state, on.Announced(again)) == Step(state)
    other = replace(again, verdicts=cid("other verdicts"))
    found = machine.step(state, on.Announced(other))
    assert found.state == state
    assert [type(effect) for effect in found.effects] == [do.LogIncident]


def test_the_survivors_are_known_once_they_are_confirmed() -> None:
    assert seated(3, 3).confirmed is None
    assert seated(3, 4).confirmed == RELEASED.confirmed == GROUP.devices


@pytest.mark.parametrize("state", [SEATED, ANSWERING, RELEASED])
def test_what_others_must_not_see_is_not_shown(state: at.Seated) -> None:
    """Shares are released to the aggregator, not to whoever reads a log."""
    event = on.Answered(ROUND, ANSWERS[-1], b"secret member")
    shown = [repr(event), repr(state), repr(machine.step(state, event))]
    assert not any("secret member" in text for text in shown)
    assert not any(repr(encode_tagged(ANSWERS[-1])) in text for text in shown)


@by_state
@pytest.mark.parametrize("reason", [None, Reason.OUT_OF_PHASE])
def test_receipts_are_kept_whenever_they_come(state: at.State, reason: Reason | None) -> None:
    receipt = Receipt(TASK, ROUND, Digest(bytes(32)), reason, "y" * 200)
    found = machine.step(state, on.Receipted(receipt))
    assert found.state == state
    assert found.effects[0] == do.KeepReceipt(receipt)
    assert len(found.effects) == (1 if reason is None else 2)


def test_a_device_that_cannot_prove_says_so_and_forgets_the_round() -> None:
    found = machine.step(PROVING, on.Declined(ROUND, "no prover answered" + "y" * 300))
    assert found.state == at.Idle(ROUND)
    forget, incident, sent = found.effects
    assert forget == do.Forget(ROUND)
    assert isinstance(incident, do.LogIncident)
    assert isinstance(sent, do.Send)
    assert isinstance(sent.message, Decline)
    assert (sent.kind, sent.message.reason) == (Kind.DECLINE, Reason.CANNOT_PROVE)
    assert len(sent.message.detail) == 200


LATE: tuple[on.Event, ...] = (
    on.Trained(Round(1), b"other", None),
    on.Proved(Round(1), 9, cid("other")),
    on.Declined(Round(1), "late"),
    on.OpeningSealed(Round(1), cid("other")),
    on.Advertised(Round(1), GROUP, KEYS, b"member"),
    on.Answered(Round(1), ANSWERS[1], b"member"),
    on.Refused(Round(1), "late"),
    on.GaveUp(Round(9), "late"),
    on.RecordProposed(Round(1), cid("other")),
    on.RecordChecked(Round(1), cid("other"), None, ""),
)


@by_state
@pytest.mark.parametrize("event", LATE, ids=lambda event: type(event).__name__)
def test_results_of_another_round_change_nothing(state: at.State, event: on.Event) -> None:
    assert machine.step(state, event) == Step(state)


OUT_OF_PLACE: tuple[on.Event, ...] = (
    on.Trained(ROUND, b"other", None),
    on.Proved(ROUND, 9, cid("other")),
    on.Declined(ROUND, "no way"),
    on.OpeningSealed(ROUND, cid("other")),
    on.Advertised(ROUND, GROUP, KEYS, b"member"),
    on.Told(TOLD[0]),
    on.Answered(ROUND, ANSWERS[1], b"member"),
    on.Refused(ROUND, "other"),
    on.RecordProposed(ROUND, cid("other")),
    on.RecordChecked(ROUND, cid("other"), None, ""),
)
_PLACES: dict[type, tuple[type, ...]] = {
    on.Trained: (at.Training,),
    on.Proved: (at.Proving,),
    on.Declined: (at.Proving,),
    on.OpeningSealed: (at.Opening,),
    on.Advertised: (at.Opening,),
    on.Told: (at.Seated,),
    on.Answered: (at.Seated,),
    on.Refused: (at.Seated,),
    on.RecordProposed: (at.Opened, at.Seated),
    on.RecordChecked: (at.Opened, at.Seated),
}


@by_state
@pytest.mark.parametrize("event", OUT_OF_PLACE, ids=lambda event: type(event).__name__)
def test_events_out_of_place_change_nothing(state: at.State, event: on.Event) -> None:
    if type(state) not in _PLACES[type(event)]:
        assert machine.step(state, event) == Step(state)


@pytest.mark.parametrize(
    ("state", "effects"),
    [
        (IDLE, ()),
        (TRAINING, (do.Train(JOINED),)),
        (COMMITTED, (SEND_COMMITMENT,)),
        (PROVING, (do.Prove(PROVING),)),
        (SUBMITTED, (SEND_SUBMISSION,)),
        (OPENING, (do.Contribute(SUBMITTED, cid("verdicts 2")),)),
        (OPENED, (SEND_OPENING,)),
        (SEATED, (do.Send(Kind.SECURE, KEYS),)),
        (ANSWERING, (do.Answer(ANSWERING),)),
        (RELEASED, (do.Send(Kind.SECURE, ANSWERS[-1]),)),
    ],
)
def test_resuming_goes_on_with_what_was_decided(
    state: at.State, effects: tuple[do.Effect, ...]
) -> None:
    assert machine.resume(state) == effects


@by_state
def test_every_state_survives_the_disk(state: at.State) -> None:
    assert decode_tagged(get_args(at.State), encode_tagged(state)) == state


@by_state
def test_every_state_knows_its_round(state: at.State) -> None:
    assert machine.round_of(state) == (1 if state == IDLE else 2)


def test_the_tests_cover_every_state() -> None:
    assert {type(state) for state in STATES} == set(get_args(at.State))
