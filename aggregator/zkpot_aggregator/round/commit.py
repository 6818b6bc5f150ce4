"""OPEN, COMMIT and SEAL: one slot for each device, then the list is fixed."""

from dataclasses import replace

from zkpot.cid import split_object
from zkpot.errors import Failure, Reason, Rejected
from zkpot.record import Misconduct, SealedList
from zkpot.verify import (
    RoundTerms,
    check_commitment_message,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import envelope_digest
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.answers import find, receipt, refuse, too_late, without
from zkpot_aggregator.round.entry import Step, enter, fail


def opened(terms: RoundTerms, state: at.Opening, _event: on.OpenedOnChain) -> Step:
    """The chain knows the round: devices may commit."""
    return enter(at.Committing(state.start), terms=terms)


def commitment_received(
    terms: RoundTerms, state: at.Committing, event: on.CommitmentReceived
) -> Step:
    """One slot per device. A second, different commitment is equivocation.

    A receipt is evidence, so what is still being checked is not answered before the check ends.
    """
    opened = check_commitment_message(terms, event.envelope)
    taken = next(
        (s for s in (*state.commitments, *state.checking) if s.device == opened.signer), None
    )
    if taken is None:
        checking = (*state.checking, at.Signed(opened.signer, event.envelope))
        return Step(replace(state, checking=checking), (do.CheckCommitment(event.envelope),))
    if taken.envelope == event.envelope:
        if taken in state.checking:
            return Step(state)
        return Step(state, (receipt(terms, taken.device, event.envelope),))
    rejection = Rejected(Reason.EQUIVOCATION, "a second, different commitment")
    effects = refuse(terms, event.envelope, rejection)
    if any(known.device == opened.signer for known in state.misconduct):
        return Step(state, effects)
    evidence = Misconduct(opened.signer, Reason.EQUIVOCATION, (taken.envelope, event.envelope))
    return Step(replace(state, misconduct=(*state.misconduct, evidence)), effects)


def commitment_checked(
    terms: RoundTerms, state: at.Committing, event: on.CommitmentChecked
) -> Step:
    """Fills the slot if the commit-time proof is valid; seals once all are in."""
    signed = find(state.checking, event.envelope)
    if signed is None:
        return Step(state)
    state = replace(state, checking=without(state.checking, signed))
    if event.reason is not None:
        rejection = Rejected(event.reason, event.detail)
        return Step(state, refuse(terms, event.envelope, rejection))
    state = replace(state, commitments=(*state.commitments, signed))
    answer = receipt(terms, signed.device, event.envelope)
    if len(state.commitments) < len(terms.roster.entries):
        return Step(state, (answer,))
    return _seal(terms, state, answer)


def commit_deadline(terms: RoundTerms, state: at.Committing, event: on.DeadlinePassed) -> Step:
    """Seals what is there, if it is enough. What is still being checked is too late."""
    if event.timer != "commit":
        return Step(state)
    late = too_late(terms, state.checking)
    if len(state.commitments) < terms.task.minimum_devices:
        return fail(
            state,
            Failure.TOO_FEW_COMMITMENTS,
            f"{len(state.commitments)} commitments, {terms.task.minimum_devices} are needed",
            *late,
        )
    return _seal(terms, state, *late)


def _seal(terms: RoundTerms, state: at.Committing, *first: do.Effect) -> Step:
    commitments = sorted(state.commitments, key=lambda signed: signed.device)
    listed = SealedList(tuple(signed.envelope for signed in commitments))
    data = encode(listed)
    proofs = tuple(
        commitment.wellformed
        for commitment in listed.open(terms.roster).values()
        if commitment.wellformed is not None
    )
    sealed = at.SealedCommitments(
        split_object(data, proofs)[0],
        listed.root,
        tuple(signed.device for signed in commitments),
        tuple(envelope_digest(signed.envelope) for signed in commitments),
        state.misconduct,
    )
    return enter(at.Sealing(state.start, sealed), *first, do.StoreObject(data, proofs), terms=terms)
