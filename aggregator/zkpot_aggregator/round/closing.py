"""AGGREGATE, RECORD and CLOSE: the sum, the leader's signature, the chain."""

from collections.abc import Sequence
from dataclasses import replace

from zkpot.cid import Cid, split_object
from zkpot.election import rank
from zkpot.errors import Failure, Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.record import Record, Sum, Summand, Verdicts
from zkpot.verify import (
    RoundTerms,
    check_opening_message,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope
from zkpot.wire.messages import (
    Phase,
    RecordRefusal,
    RecordSignature,
)
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.answers import find, receipt, refuse, too_late, without
from zkpot_aggregator.round.entry import Step, announce, enter, fail, verdicts_object


def opening_received(terms: RoundTerms, state: at.Aggregating, event: on.OpeningReceived) -> Step:
    """One opening per accepted device; the same one again is answered like the first time.

    A receipt is evidence, so what is still being checked is not answered before the check ends.
    """
    accepted = Verdicts(state.verdicts).accepted
    opened = check_opening_message(terms, accepted, event.envelope)
    if find(state.openings, event.envelope):
        return Step(state, (receipt(terms, opened.signer, event.envelope),))
    if find(state.checking, event.envelope):
        return Step(state)
    if any(signed.device == opened.signer for signed in (*state.openings, *state.checking)):
        raise Rejected(Reason.DUPLICATE, "another opening of this device was taken")
    checking = (*state.checking, at.Signed(opened.signer, event.envelope))
    return Step(replace(state, checking=checking), (do.CheckOpening(event.envelope),))


def opening_checked(terms: RoundTerms, state: at.Aggregating, event: on.OpeningChecked) -> Step:
    """Keeps an opening that opens its commitment; sums once all are there."""
    signed = find(state.checking, event.envelope)
    if signed is None:
        return Step(state)
    state = replace(state, checking=without(state.checking, signed))
    if event.reason is not None:
        rejection = Rejected(event.reason, event.detail)
        return Step(state, refuse(terms, event.envelope, rejection))
    state = replace(state, openings=(*state.openings, signed))
    answer = receipt(terms, signed.device, event.envelope)
    if len(state.openings) < len(Verdicts(state.verdicts).accepted):
        return Step(state, (answer,))
    return _sum(terms, state, answer)


def aggregate_deadline(terms: RoundTerms, state: at.Aggregating, event: on.DeadlinePassed) -> Step:
    """Sums what is there, if it is enough. What is still being checked is too late."""
    if event.timer != "aggregate":
        return Step(state)
    late = too_late(terms, state.checking)
    if len(state.openings) < terms.task.minimum_devices:
        return fail(
            state,
            Failure.TOO_FEW_OPENINGS,
            f"{len(state.openings)} openings, {terms.task.minimum_devices} are needed",
            *late,
        )
    return _sum(terms, state, *late)


def _sum(terms: RoundTerms, state: at.Aggregating, *first: do.Effect) -> Step:
    openings = tuple(sorted(state.openings, key=lambda signed: signed.device))
    return enter(
        at.Summing(state.start, state.sealed, state.drawn, state.verdicts, openings),
        *first,
        terms=terms,
    )


def summed(terms: RoundTerms, state: at.Summing, event: on.Summed) -> Step:
    """The new model is made from opened models."""
    return _record(terms, state, event, [signed.device for signed in state.openings], ())


def merged(terms: RoundTerms, state: at.Merging, event: on.Summed) -> Step:
    """The new model is made from the sums of groups."""
    return _record(terms, state, event, state.survivors, state.sums)


def _record(
    terms: RoundTerms,
    state: at.Summing | at.Merging,
    event: on.Summed,
    devices: Sequence[DeviceId],
    groups: tuple[Cid, ...],
) -> Step:
    """Makes the record, unless the new model is worse than the gate allows."""
    floor = state.drawn.global_count - terms.task.gate.margin
    if event.count < floor:
        return fail(
            state,
            Failure.MODEL_WORSE,
            f"the new model counts {event.count}, the parent's less the margin is {floor}",
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
        verdicts=split_object(*verdicts_object(terms, state.verdicts))[0],
        misconduct=state.sealed.misconduct,
        leader=order[0],
        count=verdicts.accepted[order[0]],
        sum=Sum(
            tuple(
                Summand(device, terms.task.weight(verdicts.accepted[device])) for device in devices
            ),
            event.blinding,
        ),
        groups=groups,
        model_after=event.model,
        refusals=(),
    )
    return enter(at.Recording(state.start, record, order, 0, terms.task.batch_size), terms=terms)


def record_answered(terms: RoundTerms, state: at.Recording, event: on.RecordAnswered) -> Step:
    """A signature closes the round; a refusal goes into the record of the next in rank."""
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
        return enter(
            at.Closing(state.start, state.record, event.envelope, state.total), terms=terms
        )
    refusals = (*state.record.refusals, event.envelope)
    refused = replace(state, record=replace(state.record, refusals=refusals))
    return _next_in_rank(terms, refused)


def record_deadline(terms: RoundTerms, state: at.Recording, event: on.DeadlinePassed) -> Step:
    """A silent device is passed over."""
    if event.timer != f"record-{state.rank}":
        return Step(state)
    return _next_in_rank(terms, state)


def _next_in_rank(terms: RoundTerms, state: at.Recording) -> Step:
    if state.rank + 1 == len(state.order):
        return fail(state, Failure.NOBODY_SIGNED, "no accepted device signed the record")
    return enter(replace(state, rank=state.rank + 1), terms=terms)


def closed(terms: RoundTerms, state: at.Closing, event: on.ClosedOnChain) -> Step:
    """The record stands on chain; validators, if there are any, have the next word."""
    record = split_object(encode(state.record), state.record.references)[0]
    model, signature = state.record.model_after, state.leader_signature
    if terms.task.validators:
        attesting = at.Attesting(state.start, record, event.signed, model, signature)
        return enter(attesting, terms=terms)
    announcement = announce(state, Phase.CLOSED, record=record)
    return Step(at.Ended(state.start, event.signed, model, signature), (announcement,))


def cannot_go_on(_terms: RoundTerms, state: at.State, event: on.CannotGoOn) -> Step:
    """An effect failed for good: so does the round."""
    return fail(state, event.failure, event.detail)


def failed(_terms: RoundTerms, state: at.Failing, _event: on.FailedOnChain) -> Step:
    """The round is over and its model stays."""
    announcement = announce(
        state,
        Phase.FAILED,
        reason=f"{state.failure.name.lower().replace('_', '-')}: {state.detail}"[:200],
    )
    return Step(at.Ended(state.start, None, state.start.model), (announcement,))
