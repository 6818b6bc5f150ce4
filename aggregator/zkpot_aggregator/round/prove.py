"""DRAW, PROVE and VERIFY: submissions are judged until every device has its verdict."""

from dataclasses import replace

from zkpot.errors import Failure, Reason, Rejected, reason_text
from zkpot.record import Verdict
from zkpot.verify import (
    RoundTerms,
    check_decline_message,
    check_submission_message,
)
from zkpot.wire.envelope import envelope_digest, open_as
from zkpot.wire.messages import Submission
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import masking
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.answers import find, receipt, refuse, too_late, without
from zkpot_aggregator.round.entry import Step, enter, fail


def sealed(terms: RoundTerms, state: at.Sealing, event: on.SealedOnChain) -> Step:
    """The list stands on chain, and with it the block that decides the beacon."""
    return enter(at.Drawing(state.start, state.sealed, event.draw_height), terms=terms)


def drawn(terms: RoundTerms, state: at.Drawing, event: on.Drawn) -> Step:
    """The beacon stands on chain."""
    return enter(at.Revealing(state.start, state.sealed, event.beacon), terms=terms)


def revealed(terms: RoundTerms, state: at.Revealing, event: on.Revealed) -> Step:
    """The batch is out: time to prove runs from here."""
    drawn = at.DrawnBatch(
        state.beacon,
        event.batch,
        event.global_count,
        terms.task.gate.threshold(event.global_count),
    )
    return enter(at.Proving(state.start, state.sealed, drawn), terms=terms)


def chain_deadline(
    terms: RoundTerms, state: at.Sealing | at.Drawing | at.Revealing, event: on.DeadlinePassed
) -> Step:
    """Devices wait, and the chain does not answer: it hears of the failure when it is back."""
    if event.timer != _CHAIN_TIMER[type(state)]:
        return Step(state)
    seconds = terms.task.deadlines.chain
    return fail(state, Failure.CHAIN_UNREACHABLE, f"no {event.timer} within {seconds} s")


_CHAIN_TIMER = {at.Sealing: "seal", at.Drawing: "draw", at.Revealing: "reveal"}


def submission_received(terms: RoundTerms, state: at.Proving, event: on.SubmissionReceived) -> Step:
    """The first submission of a device that can be judged is the one that counts."""
    judged = [verdict.device for verdict in state.verdicts]
    known = next((v for v in state.verdicts if v.submission == event.envelope), None)
    if known is not None:
        return Step(state, (receipt(terms, known.device, event.envelope, known.reason),))
    opened = check_submission_message(terms, state.sealed.devices, event.envelope, judged)
    if state.closed:
        raise Rejected(Reason.OUT_OF_PHASE, "the time to prove is over")
    if any(signed.device == opened.signer for signed in state.checking):
        if find(state.checking, event.envelope):
            return Step(state)
        raise Rejected(Reason.DUPLICATE, "another submission of this device is being checked")
    checking = (*state.checking, at.Signed(opened.signer, event.envelope))
    return Step(replace(state, checking=checking), (do.CheckSubmission(event.envelope),))


def submission_checked(terms: RoundTerms, state: at.Proving, event: on.SubmissionChecked) -> Step:
    """Keeps the verdict; judges the round once every device has one.

    A proof that could not be fetched is no verdict: the device may offer it again.
    """
    signed = find(state.checking, event.envelope)
    if signed is None:
        return Step(state)
    state = replace(state, checking=without(state.checking, signed))
    if event.reason is None:
        message = open_as(Submission, event.envelope, terms.roster.public_keys).message
        verdict = Verdict(signed.device, None, message.count, event.envelope)
        effects: tuple[do.Effect, ...] = (receipt(terms, signed.device, event.envelope),)
    else:
        verdict = Verdict(signed.device, event.reason, 0, event.envelope)
        effects = refuse(terms, event.envelope, Rejected(event.reason, event.detail))
    if event.reason is not Reason.OBJECT_UNAVAILABLE:
        state = replace(state, verdicts=(*state.verdicts, verdict))
    return _judge_if_complete(terms, state, effects)


def decline_received(terms: RoundTerms, state: at.Proving, event: on.DeclineReceived) -> Step:
    """A device that says it cannot prove is not waited for; it counts as silent."""
    opened = check_decline_message(terms, state.sealed.devices, event.envelope)
    device, decline = opened.signer, opened.message
    answer = receipt(terms, device, event.envelope)
    known = next((v for v in state.verdicts if v.device == device), None)
    if known == Verdict(device, Reason.NO_SUBMISSION, 0, None):
        return Step(state, (answer,))
    if known is not None or any(signed.device == device for signed in state.checking):
        raise Rejected(Reason.DUPLICATE, "declined after a submission")
    name = envelope_digest(event.envelope)
    log = do.LogRejection(device, reason_text(decline.reason), decline.detail, name)
    verdict = Verdict(device, Reason.NO_SUBMISSION, 0, None)
    state = replace(state, verdicts=(*state.verdicts, verdict))
    return _judge_if_complete(terms, state, (log, answer))


def _judge_if_complete(
    terms: RoundTerms, state: at.Proving, effects: tuple[do.Effect, ...]
) -> Step:
    all_judged = len(state.verdicts) == len(state.sealed.devices)
    if not state.checking and (all_judged or state.closed):
        return _judge(terms, state, *effects)
    return Step(state, effects)


def prove_deadline(terms: RoundTerms, state: at.Proving, event: on.DeadlinePassed) -> Step:
    """Nothing new is taken; what came in time is still judged, for a while."""
    if event.timer == "prove" and state.checking:
        grace = do.StartTimer("verify", terms.task.deadlines.aggregate)
        return Step(replace(state, closed=True), (grace,))
    if event.timer in ("prove", "verify"):
        return _judge(terms, state, *too_late(terms, state.checking))
    return Step(state)


def _judge(terms: RoundTerms, state: at.Proving, *first: do.Effect) -> Step:
    device_to_verdict = {verdict.device: verdict for verdict in state.verdicts}
    silent = [device for device in state.sealed.devices if device not in device_to_verdict]
    verdicts = tuple(
        device_to_verdict.get(device, Verdict(device, Reason.NO_SUBMISSION, 0, None))
        for device in state.sealed.devices
    )
    log = tuple(
        do.LogRejection(
            device,
            reason_text(Reason.NO_SUBMISSION),
            "nothing before the deadline",
            state.sealed.root,
        )
        for device in silent
    )
    accepted = sum(verdict.reason is None for verdict in verdicts)
    if accepted < terms.task.minimum_devices:
        needed = terms.task.minimum_devices
        return fail(
            state,
            Failure.TOO_FEW_ACCEPTED,
            f"{accepted} accepted models, {needed} are needed",
            *first,
            *log,
        )
    if terms.task.combination.is_secure:
        return masking.begin(terms, state, verdicts, *first, *log)
    return enter(
        at.Aggregating(state.start, state.sealed, state.drawn, verdicts),
        *first,
        *log,
        terms=terms,
    )
