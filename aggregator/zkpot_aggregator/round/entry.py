"""What each state does on being entered, and again after a restart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zkpot.cid import Cid, split_object
from zkpot.errors import Failure
from zkpot.record import Verdict, Verdicts
from zkpot.secure.session import Step as GroupStep
from zkpot.secure.session import told
from zkpot.verify import (
    RoundTerms,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import (
    Announcement,
    Phase,
    RecordProposal,
    Submission,
)
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import states as at


@dataclass(frozen=True)
class Step:
    """Where the round goes, and what must be done once that is on disk."""

    state: at.State
    effects: tuple[do.Effect, ...] = ()


def enter(state: at.State, *first: do.Effect, terms: RoundTerms | None = None) -> Step:
    """A step into `state`, with what the state does on entry after `first`."""
    return Step(state, (*first, *_ENTRY[type(state)](terms, state)))


def announce(state: Any, phase: Phase, **fields: Any) -> do.Announce:
    """The round's announcement in `phase`, with what is known by then."""
    start = state.start
    return do.Announce(
        Announcement(
            start.task, start.round, phase, start.parent, start.model, start.roster, **fields
        )
    )


def _on_opening(_terms: RoundTerms | None, _state: at.Opening) -> tuple[do.Effect, ...]:
    return (do.OpenOnChain(),)


def _on_committing(terms: RoundTerms, state: at.Committing) -> tuple[do.Effect, ...]:
    return (
        announce(state, Phase.COMMIT),
        do.StartTimer("commit", terms.task.deadlines.commit),
        *(do.CheckCommitment(each.envelope) for each in state.checking),
    )


def _on_sealing(terms: RoundTerms, state: at.Sealing) -> tuple[do.Effect, ...]:
    return (
        do.StartTimer("seal", terms.task.deadlines.chain),
        do.SealOnChain(state.sealed.root, len(state.sealed.devices)),
    )


def _on_drawing(terms: RoundTerms, state: at.Drawing) -> tuple[do.Effect, ...]:
    return (
        announce(state, Phase.SEAL, sealed=state.sealed.cid),
        do.StartTimer("draw", terms.task.deadlines.chain),
        do.DrawOnChain(state.draw_height),
    )


def _on_revealing(terms: RoundTerms, state: at.Revealing) -> tuple[do.Effect, ...]:
    return (
        do.StartTimer("reveal", terms.task.deadlines.chain),
        do.RevealBatch(state.beacon),
    )


def _on_proving(terms: RoundTerms, state: at.Proving) -> tuple[do.Effect, ...]:
    return (
        announce(
            state,
            Phase.PROVE,
            sealed=state.sealed.cid,
            beacon=state.drawn.beacon,
            batch=state.drawn.batch,
        ),
        do.StartTimer("prove", terms.task.deadlines.prove),
        *(do.CheckSubmission(each.envelope) for each in state.checking),
    )


def _on_aggregating(terms: RoundTerms, state: at.Aggregating) -> tuple[do.Effect, ...]:
    return (
        *_announce_verdicts(terms, state),
        do.StartTimer("aggregate", terms.task.deadlines.aggregate),
        *(do.CheckOpening(each.envelope) for each in state.checking),
    )


def _announce_verdicts(
    terms: RoundTerms, state: at.Aggregating | at.Masking
) -> tuple[do.Effect, ...]:
    data, proofs = verdicts_object(terms, state.verdicts)
    return (
        do.StoreObject(data, proofs),
        announce(
            state,
            Phase.AGGREGATE,
            sealed=state.sealed.cid,
            beacon=state.drawn.beacon,
            batch=state.drawn.batch,
            verdicts=split_object(data, proofs)[0],
        ),
    )


def _on_summing(_terms: RoundTerms, state: at.Summing) -> tuple[do.Effect, ...]:
    return (do.SumModels(state.openings),)


def _on_masking(terms: RoundTerms, state: at.Masking) -> tuple[do.Effect, ...]:
    groups = (group_effects(terms, index, run) for index, run in enumerate(state.groups))
    return (*_announce_verdicts(terms, state), *(effect for each in groups for effect in each))


def group_effects(terms: RoundTerms, index: int, run: at.GroupRun) -> tuple[do.Effect, ...]:
    """What a group's open step begins with, and does again after a restart."""
    if run.settled:
        return ()
    if run.session.step is GroupStep.DONE:
        return (do.UnmaskGroup(index),)
    look = do.OpenRelease if run.session.step is GroupStep.RELEASES else do.FetchVector
    return (
        *(do.Send(device, message) for device, message in told(run.session).items()),
        do.StartTimer(run.timer, terms.task.deadlines.aggregate),
        *(look(each.envelope) for each in run.checking),
    )


def _on_merging(_terms: RoundTerms, _state: at.Merging) -> tuple[do.Effect, ...]:
    return (do.MergeSums(),)


def _on_recording(terms: RoundTerms, state: at.Recording) -> tuple[do.Effect, ...]:
    data = encode(state.record)
    cid, _ = split_object(data, state.record.references)
    proposal = RecordProposal(state.start.task, state.start.round, cid)
    return (
        do.StoreObject(data, state.record.references),
        do.Send(state.order[state.rank], proposal),
        do.StartTimer(f"record-{state.rank}", terms.task.deadlines.record),
    )


def _on_closing(_terms: RoundTerms, state: at.Closing) -> tuple[do.Effect, ...]:
    return (do.CloseOnChain(state.record, state.leader_signature, state.total),)


def _on_attesting(terms: RoundTerms, state: at.Attesting) -> tuple[do.Effect, ...]:
    return (
        announce(state, Phase.CLOSED, record=state.record),
        do.StartTimer("attest", terms.task.deadlines.attest),
        do.AwaitValidators(),
    )


def _on_failing(_terms: RoundTerms, state: at.Failing) -> tuple[do.Effect, ...]:
    return (do.FailOnChain(state.failure),)


def _on_ended(_terms: RoundTerms, _state: at.Ended) -> tuple[do.Effect, ...]:
    return ()


def fail(state: Any, failure: Failure, detail: str, *first: do.Effect) -> Step:
    """A step into failure."""
    return enter(at.Failing(state.start, failure, detail[:200]), *first)


def verdicts_object(
    terms: RoundTerms, verdicts: tuple[Verdict, ...]
) -> tuple[bytes, tuple[Cid, ...]]:
    """The verdicts' object and, as its references, every proof that was judged."""
    proofs = tuple(
        open_as(Submission, verdict.submission, terms.roster.public_keys).message.proof
        for verdict in verdicts
        if verdict.submission is not None
    )
    return encode(Verdicts(verdicts)), tuple(dict.fromkeys(proofs))


_ENTRY: dict[type, Callable[[Any, Any], tuple[do.Effect, ...]]] = {
    at.Opening: _on_opening,
    at.Committing: _on_committing,
    at.Sealing: _on_sealing,
    at.Drawing: _on_drawing,
    at.Revealing: _on_revealing,
    at.Proving: _on_proving,
    at.Aggregating: _on_aggregating,
    at.Summing: _on_summing,
    at.Masking: _on_masking,
    at.Merging: _on_merging,
    at.Recording: _on_recording,
    at.Closing: _on_closing,
    at.Attesting: _on_attesting,
    at.Failing: _on_failing,
    at.Ended: _on_ended,
}


def resume(terms: RoundTerms, state: at.State) -> tuple[do.Effect, ...]:
    """The effects that bring `state` forward, for a process that starts in the middle of it."""
    return _ENTRY[type(state)](terms, state)
