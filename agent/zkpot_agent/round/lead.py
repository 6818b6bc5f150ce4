"""The transitions of a device that is asked to sign a record; it may be asked of several."""

from zkpot.wire.messages import RecordRefusal, RecordSignature
from zkpot.wire.topics import Kind
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import states as at
from zkpot_agent.round.step import Step


def record_proposed(state: at.Opened | at.Seated, event: on.RecordProposed) -> Step:
    """The record is checked before anything is said about it."""
    if event.round != state.submitted.joined.round:
        return Step(state)
    return Step(state, (do.CheckRecord(state, event.record),))


def record_checked(state: at.Opened | at.Seated, event: on.RecordChecked) -> Step:
    """Signs what is right, refuses the rest with its reason."""
    joined = state.submitted.joined
    if event.round != joined.round:
        return Step(state)
    if event.reason is None:
        signature = RecordSignature(joined.task, joined.round, event.record)
        return Step(state, (do.Send(Kind.RECORD, signature),))
    refusal = RecordRefusal(
        joined.task, joined.round, event.record, event.reason, event.detail[:200]
    )
    incident = do.LogIncident(joined.round, f"refused a record: {event.detail}"[:200])
    return Step(state, (do.Send(Kind.RECORD, refusal), incident))
