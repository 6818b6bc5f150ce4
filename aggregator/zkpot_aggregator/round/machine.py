"""The transition function of a round: (terms, state, event) to (state, effects), pure.

The table at the end says which events each state takes. A device's message that is not in
it is answered OUT_OF_PHASE; any other event that is not in it is late, and changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from zkpot.cid import split_object
from zkpot.election import rank
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.record import Misconduct, Record, SealedList, Sum, Summand, Verdict, Verdicts
from zkpot.verify import (
    RoundTerms,
    check_commitment_message,
    check_opening_message,
    check_submission_message,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import envelope_digest, open_envelope
from zkpot.wire.messages import (
    Announcement,
    Phase,
    Receipt,
    RecordProposal,
    RecordRefusal,
    RecordSignature,
)
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at


@dataclass(frozen=True)
class Step:
    """Where the round goes, and what must be done once that is on disk."""

    state: at.State
    effects: tuple[do.Effect, ...] = ()


Handler: TypeAlias = Callable[[RoundTerms, Any, Any], Step]

_MESSAGES = (on.CommitmentReceived, on.SubmissionReceived, on.OpeningReceived, on.RecordAnswered)


def step(terms: RoundTerms, state: at.State, event: on.Event) -> Step:
    """Applies `event`. A message that is refused leaves the state as it is."""
    handler = _TABLE.get((type(state), type(event)))
    if isinstance(event, _MESSAGES):
        try:
            if handler is None:
                raise Rejected(Reason.OUT_OF_PHASE, type(state).__name__.lower())
            return handler(terms, state, event)
        except Rejected as rejection:
            return Step(state, _refuse(terms, event.envelope, rejection))
    if handler is None:
        return Step(state)
    return handler(terms, state, event)


def begin(start: at.Start) -> Step:
    """Opens a round."""
    return _enter(at.Opening(start))


def resume(terms: RoundTerms, state: at.State) -> tuple[do.Effect, ...]:
    """The effects that bring `state` forward, for a process that starts in the middle of it."""
    return _ENTRY[type(state)](terms, state)


# --- entering states ------------------------------------------------------------------------


def _enter(state: at.State, *first: do.Effect, terms: RoundTerms | None = None) -> Step:
    return Step(state, (*first, *_ENTRY[type(state)](terms, state)))


def _announce(state: Any, phase: Phase, **fields: Any) -> do.Announce:
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
        _announce(state, Phase.COMMIT),
        do.StartTimer("commit", terms.task.deadlines.commit),
        *(do.CheckCommitment(each.envelope) for each in state.checking),
    )


def _on_sealing(_terms: RoundTerms, state: at.Sealing) -> tuple[do.Effect, ...]:
    return (do.SealOnChain(state.sealed.root, len(state.sealed.devices)),)


def _on_drawing(_terms: RoundTerms, state: at.Drawing) -> tuple[do.Effect, ...]:
    return (
        _announce(state, Phase.SEAL, sealed=state.sealed.cid),
        do.DrawOnChain(state.draw_height),
    )


def _on_revealing(_terms: RoundTerms, state: at.Revealing) -> tuple[do.Effect, ...]:
    return (do.RevealBatch(state.beacon),)


def _on_proving(terms: RoundTerms, state: at.Proving) -> tuple[do.Effect, ...]:
    return (
        _announce(
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
    data = encode(Verdicts(state.verdicts))
    return (
        do.StoreObject(data),
        _announce(
            state,
            Phase.AGGREGATE,
            sealed=state.sealed.cid,
            beacon=state.drawn.beacon,
            batch=state.drawn.batch,
            verdicts=split_object(data)[0],
        ),
        do.StartTimer("aggregate", terms.task.deadlines.aggregate),
        *(do.CheckOpening(each.envelope) for each in state.checking),
    )


def _on_summing(_terms: RoundTerms, state: at.Summing) -> tuple[do.Effect, ...]:
    return (do.SumModels(state.openings),)


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


def _on_failing(_terms: RoundTerms, state: at.Failing) -> tuple[do.Effect, ...]:
    return (do.FailOnChain(state.reason),)


def _on_ended(_terms: RoundTerms, _state: at.Ended) -> tuple[do.Effect, ...]:
    return ()


# --- OPEN and COMMIT ------------------------------------------------------------------------


def _opened(terms: RoundTerms, state: at.Opening, _event: on.OpenedOnChain) -> Step:
    return _enter(at.Committing(state.start), terms=terms)


def _commitment_received(
    terms: RoundTerms, state: at.Committing, event: on.CommitmentReceived
) -> Step:
    opened = check_commitment_message(terms, event.envelope)
    taken = next(
        (s for s in (*state.commitments, *state.checking) if s.device == opened.signer), None
    )
    if taken is None:
        checking = (*state.checking, at.Signed(opened.signer, event.envelope))
        return Step(replace(state, checking=checking), (do.CheckCommitment(event.envelope),))
    if taken.envelope == event.envelope:
        return Step(state, (_receipt(terms, taken.device, event.envelope),))
    rejection = Rejected(Reason.EQUIVOCATION, "a second, different commitment")
    effects = _refuse(terms, event.envelope, rejection)
    if any(known.device == opened.signer for known in state.misconduct):
        return Step(state, effects)
    evidence = Misconduct(opened.signer, Reason.EQUIVOCATION, (taken.envelope, event.envelope))
    return Step(replace(state, misconduct=(*state.misconduct, evidence)), effects)


def _commitment_checked(
    terms: RoundTerms, state: at.Committing, event: on.CommitmentChecked
) -> Step:
    signed = _find(state.checking, event.envelope)
    if signed is None:
        return Step(state)
    state = replace(state, checking=_without(state.checking, signed))
    if event.reason is not None:
        rejection = Rejected(event.reason, event.detail)
        return Step(state, _refuse(terms, event.envelope, rejection))
    state = replace(state, commitments=(*state.commitments, signed))
    receipt = _receipt(terms, signed.device, event.envelope)
    if len(state.commitments) < len(terms.roster.entries):
        return Step(state, (receipt,))
    return _seal(terms, state, receipt)


def _commit_deadline(terms: RoundTerms, state: at.Committing, event: on.DeadlinePassed) -> Step:
    if event.timer != "commit":
        return Step(state)
    if len(state.commitments) < terms.task.minimum_devices:
        return _fail(
            state,
            f"{len(state.commitments)} commitments, {terms.task.minimum_devices} are needed",
        )
    return _seal(terms, state)


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
        state.misconduct,
    )
    return _enter(
        at.Sealing(state.start, sealed), *first, do.StoreObject(data, proofs), terms=terms
    )


# --- SEAL and DRAW --------------------------------------------------------------------------


def _sealed(terms: RoundTerms, state: at.Sealing, event: on.SealedOnChain) -> Step:
    return _enter(at.Drawing(state.start, state.sealed, event.draw_height), terms=terms)


def _drawn(terms: RoundTerms, state: at.Drawing, event: on.Drawn) -> Step:
    return _enter(at.Revealing(state.start, state.sealed, event.beacon), terms=terms)


def _revealed(terms: RoundTerms, state: at.Revealing, event: on.Revealed) -> Step:
    drawn = at.DrawnBatch(
        state.beacon,
        event.batch,
        event.global_count,
        terms.task.gate.threshold(event.global_count),
    )
    return _enter(at.Proving(state.start, state.sealed, drawn), terms=terms)


# --- PROVE and VERIFY -----------------------------------------------------------------------


def _submission_received(
    terms: RoundTerms, state: at.Proving, event: on.SubmissionReceived
) -> Step:
    accepted = [v.device for v in state.verdicts if v.reason is None]
    known = next((v for v in state.verdicts if v.submission == event.envelope), None)
    if known is not None:
        return Step(state, (_receipt(terms, known.device, event.envelope, known.reason),))
    opened = check_submission_message(terms, state.sealed.devices, event.envelope, accepted)
    if any(signed.device == opened.signer for signed in state.checking):
        if _find(state.checking, event.envelope):
            return Step(state)
        raise Rejected(Reason.DUPLICATE, "another submission of this device is being checked")
    checking = (*state.checking, at.Signed(opened.signer, event.envelope))
    return Step(replace(state, checking=checking), (do.CheckSubmission(event.envelope),))


def _submission_checked(terms: RoundTerms, state: at.Proving, event: on.SubmissionChecked) -> Step:
    signed = _find(state.checking, event.envelope)
    if signed is None:
        return Step(state)
    checked = check_submission_message(terms, state.sealed.devices, event.envelope, ())
    count = checked.message.count if event.reason is None else 0
    verdict = Verdict(signed.device, event.reason, count, event.envelope)
    earlier = [v for v in state.verdicts if v.device == signed.device]
    if event.reason is None:
        kept = tuple(v for v in state.verdicts if v.device != signed.device)
        verdicts = (*kept, verdict)
        effects: tuple[do.Effect, ...] = (_receipt(terms, signed.device, event.envelope),)
    else:
        verdicts = state.verdicts if earlier else (*state.verdicts, verdict)
        effects = _refuse(terms, event.envelope, Rejected(event.reason, event.detail))
    state = replace(state, verdicts=verdicts, checking=_without(state.checking, signed))
    if {v.device for v in state.verdicts} == set(state.sealed.devices) and not state.checking:
        return _judge(terms, state, *effects)
    return Step(state, effects)


def _prove_deadline(terms: RoundTerms, state: at.Proving, event: on.DeadlinePassed) -> Step:
    if event.timer != "prove":
        return Step(state)
    return _judge(terms, state)


def _judge(terms: RoundTerms, state: at.Proving, *first: do.Effect) -> Step:
    device_to_verdict = {verdict.device: verdict for verdict in state.verdicts}
    silent = [device for device in state.sealed.devices if device not in device_to_verdict]
    verdicts = tuple(
        device_to_verdict.get(device, Verdict(device, Reason.NO_SUBMISSION, 0, None))
        for device in state.sealed.devices
    )
    log = tuple(
        do.LogRejection(
            device, _code(Reason.NO_SUBMISSION), "nothing before the deadline", state.sealed.root
        )
        for device in silent
    )
    accepted = sum(verdict.reason is None for verdict in verdicts)
    if accepted < terms.task.minimum_devices:
        needed = terms.task.minimum_devices
        return _fail(state, f"{accepted} accepted models, {needed} are needed", *first, *log)
    return _enter(
        at.Aggregating(state.start, state.sealed, state.drawn, verdicts),
        *first,
        *log,
        terms=terms,
    )


# --- AGGREGATE ------------------------------------------------------------------------------


def _opening_received(terms: RoundTerms, state: at.Aggregating, event: on.OpeningReceived) -> Step:
    accepted = Verdicts(state.verdicts).accepted
    opened = check_opening_message(terms, accepted, event.envelope)
    if any(signed.device == opened.signer for signed in (*state.openings, *state.checking)):
        return Step(state, (_receipt(terms, opened.signer, event.envelope),))
    checking = (*state.checking, at.Signed(opened.signer, event.envelope))
    return Step(replace(state, checking=checking), (do.CheckOpening(event.envelope),))


def _opening_checked(terms: RoundTerms, state: at.Aggregating, event: on.OpeningChecked) -> Step:
    signed = _find(state.checking, event.envelope)
    if signed is None:
        return Step(state)
    state = replace(state, checking=_without(state.checking, signed))
    if event.reason is not None:
        rejection = Rejected(event.reason, event.detail)
        return Step(state, _refuse(terms, event.envelope, rejection))
    state = replace(state, openings=(*state.openings, signed))
    receipt = _receipt(terms, signed.device, event.envelope)
    if len(state.openings) < len(Verdicts(state.verdicts).accepted):
        return Step(state, (receipt,))
    return _sum(terms, state, receipt)


def _aggregate_deadline(terms: RoundTerms, state: at.Aggregating, event: on.DeadlinePassed) -> Step:
    if event.timer != "aggregate":
        return Step(state)
    if len(state.openings) < terms.task.minimum_devices:
        return _fail(
            state, f"{len(state.openings)} openings, {terms.task.minimum_devices} are needed"
        )
    return _sum(terms, state)


def _sum(terms: RoundTerms, state: at.Aggregating, *first: do.Effect) -> Step:
    openings = tuple(sorted(state.openings, key=lambda signed: signed.device))
    return _enter(
        at.Summing(state.start, state.sealed, state.drawn, state.verdicts, openings),
        *first,
        terms=terms,
    )


def _summed(terms: RoundTerms, state: at.Summing, event: on.Summed) -> Step:
    floor = state.drawn.global_count - terms.task.gate.margin
    if event.count < floor:
        return _fail(
            state, f"the new model counts {event.count}, the parent's less the margin is {floor}"
        )
    verdicts = Verdicts(state.verdicts)
    order = rank(state.drawn.beacon, verdicts.accepted)
    record = Record(
        task=state.start.task,
        round=state.start.round,
        parent=state.start.parent,
        model_before=state.start.model,
        roster=state.start.roster,
        sealed=state.sealed.cid,
        beacon=state.drawn.beacon,
        batch=state.drawn.batch,
        threshold=state.drawn.threshold,
        verdicts=split_object(encode(verdicts))[0],
        misconduct=state.sealed.misconduct,
        leader=order[0],
        count=verdicts.accepted[order[0]],
        sum=Sum(
            tuple(
                Summand(signed.device, terms.task.weight(verdicts.accepted[signed.device]))
                for signed in state.openings
            ),
            event.blinding,
        ),
        model_after=event.model,
        refusals=(),
    )
    return _enter(at.Recording(state.start, record, order, 0, terms.task.batch_size), terms=terms)


# --- RECORD and CLOSE -----------------------------------------------------------------------


def _record_answered(terms: RoundTerms, state: at.Recording, event: on.RecordAnswered) -> Step:
    opened = open_envelope(event.envelope, terms.roster.public_keys)
    message = opened.message
    if not isinstance(message, RecordSignature | RecordRefusal):
        raise Rejected(Reason.UNKNOWN_TYPE, type(message).__name__)
    cid, _ = split_object(encode(state.record), state.record.references)
    if (message.task, message.round, message.record) != (state.start.task, terms.round, cid):
        raise Rejected(Reason.STALE_ROUND, "not about the record that was proposed")
    if opened.signer != state.order[state.rank]:
        raise Rejected(Reason.OUT_OF_PHASE, "another device is asked to sign")
    if isinstance(message, RecordSignature):
        return _enter(
            at.Closing(state.start, state.record, event.envelope, state.total), terms=terms
        )
    refusals = (*state.record.refusals, event.envelope)
    refused = replace(state, record=replace(state.record, refusals=refusals))
    return _next_in_rank(terms, refused)


def _record_deadline(terms: RoundTerms, state: at.Recording, event: on.DeadlinePassed) -> Step:
    if event.timer != f"record-{state.rank}":
        return Step(state)
    return _next_in_rank(terms, state)


def _next_in_rank(terms: RoundTerms, state: at.Recording) -> Step:
    if state.rank + 1 == len(state.order):
        return _fail(state, "no accepted device signed the record")
    return _enter(replace(state, rank=state.rank + 1), terms=terms)


def _closed(_terms: RoundTerms, state: at.Closing, event: on.ClosedOnChain) -> Step:
    record = split_object(encode(state.record), state.record.references)[0]
    announcement = _announce(state, Phase.CLOSED, record=record)
    return Step(at.Ended(state.start, event.signed, state.record.model_after), (announcement,))


def _fail(state: Any, reason: str, *first: do.Effect) -> Step:
    return _enter(at.Failing(state.start, reason[:200]), *first)


def _cannot_go_on(_terms: RoundTerms, state: at.State, event: on.CannotGoOn) -> Step:
    return _fail(state, event.reason)


def _failed(_terms: RoundTerms, state: at.Failing, _event: on.FailedOnChain) -> Step:
    announcement = _announce(state, Phase.FAILED, reason=state.reason)
    return Step(at.Ended(state.start, None, state.start.model), (announcement,))


# --- shared ---------------------------------------------------------------------------------


def _find(signed: tuple[at.Signed, ...], envelope: bytes) -> at.Signed | None:
    return next((each for each in signed if each.envelope == envelope), None)


def _without(signed: tuple[at.Signed, ...], gone: at.Signed) -> tuple[at.Signed, ...]:
    return tuple(each for each in signed if each != gone)


def _receipt(
    terms: RoundTerms,
    device: DeviceId,
    envelope: bytes,
    reason: Reason | None = None,
    detail: str = "",
) -> do.Send:
    name = envelope_digest(envelope)
    return do.Send(device, Receipt(terms.task_id, terms.round, name, reason, detail[:200]))


def _refuse(terms: RoundTerms, envelope: bytes, rejection: Rejected) -> tuple[do.Effect, ...]:
    """Logs a rejection; answers it if the envelope really is by a device of the roster."""
    try:
        signer: DeviceId | None = open_envelope(envelope, terms.roster.public_keys).signer
    except Rejected:
        signer = None
    name = envelope_digest(envelope)
    log = do.LogRejection(signer, _code(rejection.reason), rejection.detail[:200], name)
    if signer is None:
        return (log,)
    return (log, _receipt(terms, signer, envelope, rejection.reason, rejection.detail))


def _code(reason: Reason) -> str:
    return reason.name.lower().replace("_", "-")


_ENTRY: dict[type, Callable[[Any, Any], tuple[do.Effect, ...]]] = {
    at.Opening: _on_opening,
    at.Committing: _on_committing,
    at.Sealing: _on_sealing,
    at.Drawing: _on_drawing,
    at.Revealing: _on_revealing,
    at.Proving: _on_proving,
    at.Aggregating: _on_aggregating,
    at.Summing: _on_summing,
    at.Recording: _on_recording,
    at.Closing: _on_closing,
    at.Failing: _on_failing,
    at.Ended: _on_ended,
}

_TABLE: dict[tuple[type, type], Handler] = {
    (at.Opening, on.OpenedOnChain): _opened,
    (at.Committing, on.CommitmentReceived): _commitment_received,
    (at.Committing, on.CommitmentChecked): _commitment_checked,
    (at.Committing, on.DeadlinePassed): _commit_deadline,
    (at.Sealing, on.SealedOnChain): _sealed,
    (at.Sealing, on.CannotGoOn): _cannot_go_on,
    (at.Drawing, on.Drawn): _drawn,
    (at.Drawing, on.CannotGoOn): _cannot_go_on,
    (at.Revealing, on.Revealed): _revealed,
    (at.Revealing, on.CannotGoOn): _cannot_go_on,
    (at.Proving, on.SubmissionReceived): _submission_received,
    (at.Proving, on.SubmissionChecked): _submission_checked,
    (at.Proving, on.DeadlinePassed): _prove_deadline,
    (at.Aggregating, on.OpeningReceived): _opening_received,
    (at.Aggregating, on.OpeningChecked): _opening_checked,
    (at.Aggregating, on.DeadlinePassed): _aggregate_deadline,
    (at.Summing, on.Summed): _summed,
    (at.Summing, on.CannotGoOn): _cannot_go_on,
    (at.Recording, on.RecordAnswered): _record_answered,
    (at.Recording, on.DeadlinePassed): _record_deadline,
    (at.Closing, on.ClosedOnChain): _closed,
    (at.Failing, on.FailedOnChain): _failed,
}
