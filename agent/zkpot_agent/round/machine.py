"""The transition function of a device: (state, event) to (state, effects), pure.

Announcements carry a round's whole standing, so a device that was away joins where it can
and skips what it missed. An event that the table does not name for a state changes nothing.
"""

from zkpot.cid import Cid
from zkpot.errors import Reason, reason_text
from zkpot.ids import Digest, Round
from zkpot.wire.messages import (
    Announcement,
    Commitment,
    Decline,
    Opening,
    Phase,
    Submission,
)
from zkpot.wire.topics import Kind
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import lead, seat
from zkpot_agent.round import states as at
from zkpot_agent.round.step import Handler, Step


def step(state: at.State, event: on.Event) -> Step:
    """Applies `event`."""
    handler = _TABLE.get((type(state), type(event)))
    return Step(state) if handler is None else handler(state, event)


def resume(state: at.State) -> tuple[do.Effect, ...]:
    """The effects that bring `state` forward, for a process that starts in the middle of it."""
    match state:
        case at.Idle():
            return ()
        case at.Training(joined):
            return (do.Train(joined),)
        case at.Committed():
            return (_send_commitment(state),)
        case at.Proving():
            return (do.Prove(state),)
        case at.Submitted():
            return (_send_submission(state),)
        case at.Opening(submitted, verdicts):
            return (do.Contribute(submitted, verdicts),)
        case at.Opened():
            return (_send_opening(state),)
        case at.Seated():
            return seat.resume(state)


def round_of(state: at.State) -> Round:
    """The round `state` is about."""
    match state:
        case at.Idle(last):
            return last
        case _:
            return _joined(state).round


# --- announcements --------------------------------------------------------------------------


def _announced(state: at.State, event: on.Announced) -> Step:
    announced, current = event.announcement, round_of(state)
    if announced.round < current:
        return Step(state)
    if announced.round > current:
        return _join(state, announced)
    if announced.phase in (Phase.CLOSED, Phase.FAILED):
        return _finish(state, announced)
    follow = _FOLLOW.get((type(state), announced.phase))
    if follow is None or isinstance(state, at.Idle):
        return Step(state)
    if _basis(announced) != _basis(_joined(state)):
        what = "another parent, model or roster was announced than the one we joined with"
        return Step(state, (do.LogIncident(announced.round, what),))
    return follow(state, announced)


def _joined(state: at.InRound) -> Announcement:
    match state:
        case at.Opening(submitted) | at.Opened(submitted) | at.Seated(submitted):
            return submitted.joined
        case _:
            return state.joined


def _basis(announced: Announcement) -> tuple[Digest, Cid, Cid]:
    """What a round stands on: what COMMIT says of it must be what validators endorse later."""
    return announced.parent, announced.model, announced.roster


def _join(state: at.State, announced: Announcement) -> Step:
    forget: tuple[do.Effect, ...] = ()
    if not isinstance(state, at.Idle):
        forget = (do.Forget(round_of(state)),)
    if announced.phase is Phase.COMMIT:
        return Step(at.Training(announced), (*forget, do.Train(announced)))
    idle = at.Idle(announced.round)
    if announced.phase is Phase.CLOSED and announced.record is not None:
        return Step(idle, (*forget, do.KeepModel(announced.record)))
    return Step(idle, forget)


def _finish(state: at.State, announced: Announcement) -> Step:
    # A device that missed or gave up the round, or died before it had the model, wants it too.
    over = isinstance(state, at.Idle)
    effects: tuple[do.Effect, ...] = () if over else (do.Forget(announced.round),)
    if announced.phase is Phase.CLOSED and announced.record is not None:
        effects += (do.KeepModel(announced.record),)
    return Step(at.Idle(announced.round), effects)


def _too_late(_state: at.Training, announced: Announcement) -> Step:
    missed = do.LogIncident(announced.round, "the commitments were sealed before ours was ready")
    return Step(at.Idle(announced.round), (do.Forget(announced.round), missed))


def _batch_drawn(state: at.Committed, announced: Announcement) -> Step:
    if announced.sealed is None or announced.beacon is None or announced.batch is None:
        return Step(state)
    proving = at.Proving(
        state.joined, state.commitment, announced.sealed, announced.beacon, announced.batch
    )
    return Step(proving, (do.Prove(proving),))


def _batch_again(state: at.Proving | at.Submitted, announced: Announcement) -> Step:
    if (announced.beacon, announced.batch) == (state.beacon, state.batch):
        return Step(state)
    refused = do.LogIncident(announced.round, "a second batch was announced for our commitment")
    return Step(state, (refused,))


def _verdicts_out(state: at.Submitted, announced: Announcement) -> Step:
    if announced.verdicts is None:
        return Step(state)
    drawn = (state.sealed, state.beacon, state.batch)
    if (announced.sealed, announced.beacon, announced.batch) != drawn:
        refused = do.LogIncident(announced.round, "verdicts came for another batch than we proved")
        return Step(state, (refused,))
    return Step(at.Opening(state, announced.verdicts), (do.Contribute(state, announced.verdicts),))


def _verdicts_again(state: at.Opening | at.Seated, announced: Announcement) -> Step:
    if announced.verdicts == state.verdicts:
        return Step(state)
    return Step(state, (do.LogIncident(announced.round, "second verdicts were announced"),))


def _judged_without_us(_state: at.Committed | at.Proving, announced: Announcement) -> Step:
    missed = do.LogIncident(announced.round, "the verdicts came before our proof was ready")
    return Step(at.Idle(announced.round), (do.Forget(announced.round), missed))


# --- our own work ---------------------------------------------------------------------------


def _trained(state: at.Training, event: on.Trained) -> Step:
    if event.round != state.joined.round:
        return Step(state)
    committed = at.Committed(state.joined, event.commitment, event.wellformed)
    return Step(committed, (_send_commitment(committed),))


def _proved(state: at.Proving, event: on.Proved) -> Step:
    if event.round != state.joined.round:
        return Step(state)
    submitted = at.Submitted(
        state.joined,
        state.commitment,
        state.sealed,
        state.beacon,
        state.batch,
        event.count,
        event.proof,
    )
    return Step(submitted, (_send_submission(submitted),))


def _declined(state: at.Proving, event: on.Declined) -> Step:
    joined = state.joined
    if event.round != joined.round:
        return Step(state)
    decline = Decline(
        joined.task, joined.round, joined.parent, Reason.CANNOT_PROVE, event.why[:200]
    )
    incident = do.LogIncident(event.round, f"declined to prove: {event.why}"[:200])
    effects = (do.Forget(event.round), incident, do.Send(Kind.DECLINE, decline))
    return Step(at.Idle(event.round), effects)


def _opening_sealed(state: at.Opening, event: on.OpeningSealed) -> Step:
    if event.round != round_of(state):
        return Step(state)
    opened = at.Opened(state.submitted, event.sealed)
    return Step(opened, (_send_opening(opened),))


def _gave_up(state: at.State, event: on.GaveUp) -> Step:
    if event.round != round_of(state):
        return Step(state)
    incident = do.LogIncident(event.round, event.why)
    return Step(at.Idle(event.round), (do.Forget(event.round), incident))


def _receipted(state: at.State, event: on.Receipted) -> Step:
    receipt = event.receipt
    effects: tuple[do.Effect, ...] = (do.KeepReceipt(receipt),)
    if receipt.reason is not None:
        what = f"rejected: {reason_text(receipt.reason)} {receipt.detail}"
        effects += (do.LogIncident(receipt.round, what[:200]),)
    return Step(state, effects)


# --- messages -------------------------------------------------------------------------------


def _send_commitment(state: at.Committed) -> do.Send:
    joined = state.joined
    message = Commitment(
        joined.task, joined.round, joined.parent, state.commitment, state.wellformed
    )
    return do.Send(Kind.COMMITMENT, message)


def _send_submission(state: at.Submitted) -> do.Send:
    joined = state.joined
    message = Submission(joined.task, joined.round, joined.parent, state.count, state.proof)
    return do.Send(Kind.SUBMISSION, message)


def _send_opening(state: at.Opened) -> do.Send:
    return do.Send(Kind.OPENING, opening_message(state))


def opening_message(state: at.Opened) -> Opening:
    """The message that offers our sealed opening."""
    joined = state.submitted.joined
    return Opening(joined.task, joined.round, joined.parent, state.opening)


_FOLLOW: dict[tuple[type, Phase], Handler] = {
    (at.Training, Phase.SEAL): _too_late,
    (at.Training, Phase.PROVE): _too_late,
    (at.Training, Phase.AGGREGATE): _too_late,
    (at.Committed, Phase.PROVE): _batch_drawn,
    (at.Committed, Phase.AGGREGATE): _judged_without_us,
    (at.Proving, Phase.PROVE): _batch_again,
    (at.Proving, Phase.AGGREGATE): _judged_without_us,
    (at.Submitted, Phase.PROVE): _batch_again,
    (at.Submitted, Phase.AGGREGATE): _verdicts_out,
    (at.Opening, Phase.AGGREGATE): _verdicts_again,
    (at.Seated, Phase.AGGREGATE): _verdicts_again,
}

_STATES = (
    at.Idle,
    at.Training,
    at.Committed,
    at.Proving,
    at.Submitted,
    at.Opening,
    at.Opened,
    at.Seated,
)

_TABLE: dict[tuple[type, type], Handler] = {
    **{(state, on.Announced): _announced for state in _STATES},
    **{(state, on.Receipted): _receipted for state in _STATES},
    **{(state, on.GaveUp): _gave_up for state in _STATES if state is not at.Idle},
    (at.Training, on.Trained): _trained,
    (at.Proving, on.Proved): _proved,
    (at.Proving, on.Declined): _declined,
    (at.Opening, on.OpeningSealed): _opening_sealed,
    (at.Opened, on.RecordProposed): lead.record_proposed,
    (at.Opened, on.RecordChecked): lead.record_checked,
    (at.Opening, on.Advertised): seat.advertised,
    (at.Seated, on.Told): seat.told,
    (at.Seated, on.Answered): seat.answered,
    (at.Seated, on.Refused): seat.refused,
    (at.Seated, on.RecordProposed): lead.record_proposed,
    (at.Seated, on.RecordChecked): lead.record_checked,
}
