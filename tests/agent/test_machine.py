"""The device's round, one transition at a time."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from tests.agent.announcements import TASK, announcement, cid

from zkpot.errors import Reason
from zkpot.ids import Digest, Round
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
STATES: tuple[at.State, ...] = (
    IDLE,
    TRAINING,
    COMMITTED,
    PROVING,
    SUBMITTED,
    OPENING,
    OPENED,
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
            (do.SealOpening(SUBMITTED, cid("verdicts 2")),),
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
        "ends",
    ],
)
def test_an_undisturbed_round(
    before: at.State, event: on.Event, after: at.State, effects: tuple[do.Effect, ...]
) -> None:
    assert machine.step(before, event) == machine.Step(after, effects)


@in_round
def test_a_later_round_ends_the_one_under_way(state: at.State) -> None:
    later = announcement(4, Phase.COMMIT)
    found = machine.step(state, on.Announced(later))
    assert found == machine.Step(at.Training(later), (do.Forget(ROUND), do.Train(later)))


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
    assert found == machine.Step(OVER, (do.KeepModel(cid("record 2")),))


@in_round
def test_a_failed_round_ends_without_a_model(state: at.State) -> None:
    found = machine.step(state, _announced(Phase.FAILED))
    assert found == machine.Step(OVER, (do.Forget(ROUND),))


@by_state
@pytest.mark.parametrize("phase", list(Phase))
def test_an_earlier_round_is_old_news(state: at.State, phase: Phase) -> None:
    assert machine.step(state, _announced(phase, 0)) == machine.Step(state)


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
    assert machine.step(OVER, _announced(Phase.COMMIT)) == machine.Step(OVER)


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
    assert machine.step(state, _announced(Phase.PROVE)) == machine.Step(state)


@pytest.mark.parametrize("missing", ["sealed", "beacon", "batch"])
def test_a_draw_that_is_incomplete_is_ignored(missing: str) -> None:
    event = on.Announced(replace(DRAWN, **{missing: None}))  # type: ignore[arg-type]
    assert machine.step(COMMITTED, event) == machine.Step(COMMITTED)


def test_verdicts_that_are_not_named_are_ignored() -> None:
    event = on.Announced(announcement(2, Phase.AGGREGATE, verdicts=None))
    assert machine.step(SUBMITTED, event) == machine.Step(SUBMITTED)


@in_round
def test_giving_up_ends_the_round_and_says_why(state: at.State) -> None:
    found = machine.step(state, on.GaveUp(ROUND, "why"))
    assert found == machine.Step(OVER, (do.Forget(ROUND), do.LogIncident(ROUND, "why")))


def test_a_wrong_record_is_refused_with_its_reason() -> None:
    event = on.RecordChecked(ROUND, cid("r"), Reason.SUM_MISMATCH, "x" * 500)
    found = machine.step(OPENED, event)
    refusal = RecordRefusal(TASK, ROUND, cid("r"), Reason.SUM_MISMATCH, "x" * 200)
    assert found.state == OPENED
    assert found.effects[0] == do.Send(Kind.RECORD, refusal)
    assert isinstance(found.effects[1], do.LogIncident)


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
    on.GaveUp(Round(9), "late"),
    on.RecordProposed(Round(1), cid("other")),
    on.RecordChecked(Round(1), cid("other"), None, ""),
)


@by_state
@pytest.mark.parametrize("event", LATE, ids=lambda event: type(event).__name__)
def test_results_of_another_round_change_nothing(state: at.State, event: on.Event) -> None:
    assert machine.step(state, event) == machine.Step(state)


OUT_OF_PLACE: tuple[on.Event, ...] = (
    on.Trained(ROUND, b"other", None),
    on.Proved(ROUND, 9, cid("other")),
    on.Declined(ROUND, "no way"),
    on.OpeningSealed(ROUND, cid("other")),
    on.RecordProposed(ROUND, cid("other")),
    on.RecordChecked(ROUND, cid("other"), None, ""),
)
_PLACE: dict[type, type] = {
    on.Trained: at.Training,
    on.Proved: at.Proving,
    on.Declined: at.Proving,
    on.OpeningSealed: at.Opening,
    on.RecordProposed: at.Opened,
    on.RecordChecked: at.Opened,
}


@by_state
@pytest.mark.parametrize("event", OUT_OF_PLACE, ids=lambda event: type(event).__name__)
def test_events_out_of_place_change_nothing(state: at.State, event: on.Event) -> None:
    if type(state) is not _PLACE[type(event)]:
        assert machine.step(state, event) == machine.Step(state)


@pytest.mark.parametrize(
    ("state", "effects"),
    [
        (IDLE, ()),
        (TRAINING, (do.Train(JOINED),)),
        (COMMITTED, (SEND_COMMITMENT,)),
        (PROVING, (do.Prove(PROVING),)),
        (SUBMITTED, (SEND_SUBMISSION,)),
        (OPENING, (do.SealOpening(SUBMITTED, cid("verdicts 2")),)),
        (OPENED, (SEND_OPENING,)),
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
