"""The transition function of a round: (terms, state, event) to (state, effects), pure.

The table at the end says which events each state takes. A device's message that is not in
it is answered as it was in its own phase, or else OUT_OF_PHASE; any other event that is not
in it is late, and changes nothing.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from zkpot.errors import Reason, Rejected
from zkpot.verify import (
    RoundTerms,
)
from zkpot_aggregator.round import attest, closing, commit, masking, prove
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.answers import again, refuse
from zkpot_aggregator.round.entry import Step, enter, resume

Handler: TypeAlias = Callable[[RoundTerms, Any, Any], Step]

_MESSAGES = (
    on.CommitmentReceived,
    on.SubmissionReceived,
    on.DeclineReceived,
    on.OpeningReceived,
    on.SecureReceived,
    on.RecordAnswered,
)

_AFTER_MASKING = (at.Merging, at.Recording, at.Closing, at.Attesting, at.Failing, at.Ended)


def step(terms: RoundTerms, state: at.State, event: on.Event) -> Step:
    """Applies `event`. A message that is refused leaves the state as it is."""
    handler = _TABLE.get((type(state), type(event)))
    if isinstance(event, _MESSAGES):
        if handler is None and (answers := again(terms, state, event.envelope)) is not None:
            return Step(state, answers)
        try:
            return (handler or _out_of_phase)(terms, state, event)
        except Rejected as rejection:
            return Step(state, refuse(terms, event.envelope, rejection))
    if handler is None:
        return Step(state)
    return handler(terms, state, event)


def _out_of_phase(_terms: RoundTerms, state: at.State, _event: on.Event) -> Step:
    raise Rejected(Reason.OUT_OF_PHASE, type(state).__name__.lower())


def begin(start: at.Start) -> Step:
    """Opens a round."""
    return enter(at.Opening(start))


_TABLE: dict[tuple[type, type], Handler] = {
    (at.Opening, on.OpenedOnChain): commit.opened,
    (at.Opening, on.HeadMoved): attest.head_moved,
    (at.Committing, on.CommitmentReceived): commit.commitment_received,
    (at.Committing, on.CommitmentChecked): commit.commitment_checked,
    (at.Committing, on.DeadlinePassed): commit.commit_deadline,
    (at.Sealing, on.SealedOnChain): prove.sealed,
    (at.Sealing, on.CannotGoOn): closing.cannot_go_on,
    (at.Sealing, on.DeadlinePassed): prove.chain_deadline,
    (at.Drawing, on.Drawn): prove.drawn,
    (at.Drawing, on.CannotGoOn): closing.cannot_go_on,
    (at.Drawing, on.DeadlinePassed): prove.chain_deadline,
    (at.Revealing, on.Revealed): prove.revealed,
    (at.Revealing, on.CannotGoOn): closing.cannot_go_on,
    (at.Revealing, on.DeadlinePassed): prove.chain_deadline,
    (at.Proving, on.SubmissionReceived): prove.submission_received,
    (at.Proving, on.SubmissionChecked): prove.submission_checked,
    (at.Proving, on.DeclineReceived): prove.decline_received,
    (at.Proving, on.DeadlinePassed): prove.prove_deadline,
    (at.Aggregating, on.OpeningReceived): closing.opening_received,
    (at.Aggregating, on.OpeningChecked): closing.opening_checked,
    (at.Aggregating, on.DeadlinePassed): closing.aggregate_deadline,
    (at.Summing, on.Summed): closing.summed,
    (at.Summing, on.CannotGoOn): closing.cannot_go_on,
    (at.Masking, on.SecureReceived): masking.message_received,
    (at.Masking, on.VectorFetched): masking.looked_into,
    (at.Masking, on.ReleaseOpened): masking.looked_into,
    (at.Masking, on.DeadlinePassed): masking.deadline,
    (at.Masking, on.GroupSummed): masking.group_summed,
    (at.Masking, on.GroupRefused): masking.group_refused,
    (at.Merging, on.Summed): closing.merged,
    (at.Merging, on.CannotGoOn): closing.cannot_go_on,
    **{(state, on.SecureReceived): masking.late for state in _AFTER_MASKING},
    (at.Recording, on.RecordAnswered): closing.record_answered,
    (at.Recording, on.DeadlinePassed): closing.record_deadline,
    (at.Closing, on.ClosedOnChain): closing.closed,
    (at.Closing, on.CannotGoOn): closing.cannot_go_on,
    (at.Attesting, on.Settled): attest.settled,
    (at.Attesting, on.DeadlinePassed): attest.deadline,
    (at.Failing, on.FailedOnChain): closing.failed,
}

__all__ = ["Step", "begin", "resume", "step"]
