"""AGGREGATE in secure mode: each group takes its steps by itself, then their sums are merged.

A step of a group ends when all who can have answered, or at its deadline. A group with too few
members left, or whose sum does not open, has failed and is left out; the others go on.
"""

from dataclasses import replace
from typing import get_args

from zkpot.errors import Failure, Reason, Rejected, reason_text
from zkpot.ids import DeviceId
from zkpot.record import Verdict, Verdicts
from zkpot.secure.exchange import FromMember, MaskedInput, SealedRelease
from zkpot.secure.groups import round_groups
from zkpot.secure.session import Session, check_next, close, take, take_release, told
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.answers import find, refuse, too_late, without
from zkpot_aggregator.round.entry import Step, enter, fail, group_effects

_SPOILT = frozenset({Reason.SUM_MISMATCH, Reason.SHARE_INVALID, Reason.DEALING_FALSE})
"""What a member must have lied for. Other reasons are the aggregator's own trouble."""


def begin(
    terms: RoundTerms,
    state: at.Proving,
    verdicts: tuple[Verdict, ...],
    *first: do.Effect,
) -> Step:
    """Draws the groups of the accepted devices."""
    accepted = Verdicts(verdicts).accepted
    groups = round_groups(terms, state.drawn.beacon, state.sealed.devices, accepted)
    runs = tuple(at.GroupRun(encode(Session(group))) for group in groups)
    masking = at.Masking(state.start, state.sealed, state.drawn, verdicts, runs)
    return enter(masking, *first, terms=terms)


def message_received(terms: RoundTerms, state: at.Masking, event: on.SecureReceived) -> Step:
    """A member's answer in its group's open step.

    One that was taken before is answered with what followed from it, if anything did.
    """
    opened = open_envelope(event.envelope, terms.roster.public_keys)
    sender, message = opened.signer, opened.message
    if not isinstance(message, get_args(FromMember)):
        raise Rejected(Reason.UNKNOWN_TYPE, type(message).__name__)
    index = _group_of(state, sender)
    run = state.groups[index]
    if find(run.checking, event.envelope):
        return Step(state)
    try:
        check_next(run.session, sender, message)
    except Rejected as rejection:
        if rejection.reason is not Reason.DUPLICATE:
            raise
        return Step(state, _told(run, sender))
    if run.failed:
        raise Rejected(Reason.OUT_OF_PHASE, "the group has failed")
    if isinstance(message, MaskedInput):
        return _look_into(state, index, sender, do.FetchVector(event.envelope))
    if isinstance(message, SealedRelease):
        return _look_into(state, index, sender, do.OpenRelease(event.envelope))
    session = take(run.session, sender, message, terms.roster.public_keys)
    return _taken(terms, state, index, session)


def looked_into(
    terms: RoundTerms, state: at.Masking, event: on.VectorFetched | on.ReleaseOpened
) -> Step:
    """Takes a masked input whose vector is there, or a release that opens.

    After a refusal a device may offer again. A vector that was fetched stays until the round
    ends, so it may do so `MAX_OFFERS` times in all.
    """
    for index, run in enumerate(state.groups):
        signed = find(run.checking, event.envelope)
        if signed is None:
            continue
        state = _with(state, index, run.changed(checking=without(run.checking, signed)))
        try:
            session = _found_good(terms, run.session, signed, event)
        except Rejected as rejection:
            return _offer_refused(terms, state, index, signed, rejection)
        return _taken(terms, state, index, session)
    return Step(state)


def deadline(terms: RoundTerms, state: at.Masking, event: on.DeadlinePassed) -> Step:
    """Ends the step that the timer was started for. What is still looked into is too late."""
    for index, run in enumerate(state.groups):
        if event.timer == run.timer and not run.settled:
            late = too_late(terms, run.checking)
            return _closed(terms, _with(state, index, run.changed(checking=())), index, *late)
    return Step(state)


def group_summed(terms: RoundTerms, state: at.Masking, event: on.GroupSummed) -> Step:
    """The sum opens its survivors' commitments."""
    run = state.groups[event.index]
    if run.settled:
        return Step(state)
    return _merge_if_settled(terms, _with(state, event.index, run.changed(sum=event.sum)))


def group_refused(terms: RoundTerms, state: at.Masking, event: on.GroupRefused) -> Step:
    """The sum cannot be had, or does not open: by the liar's doing, if it is known.

    If not, everyone is suspected who can have caused it.
    """
    run = state.groups[event.index]
    if run.settled:
        return Step(state)
    if event.reason in _SPOILT:
        suspects = run.session.dealers if event.liar is None else (event.liar,)
        state = _with(state, event.index, run.changed(suspects=suspects))
    rejection = Rejected(event.reason, event.detail)
    return _failed(terms, state, event.index, rejection, device=event.liar)


def late(_terms: RoundTerms, state: at.State, _event: on.SecureReceived) -> Step:
    """All groups are settled: what their members repeat changes nothing."""
    return Step(state)


def _group_of(state: at.Masking, device: DeviceId) -> int:
    for index, run in enumerate(state.groups):
        if device in run.session.group.device_to_weight:
            return index
    raise Rejected(Reason.NOT_COMMITTED, "not accepted, so in no group")


def _with(state: at.Masking, index: int, run: at.GroupRun) -> at.Masking:
    return replace(state, groups=(*state.groups[:index], run, *state.groups[index + 1 :]))


def _told(run: at.GroupRun, device: DeviceId) -> tuple[do.Effect, ...]:
    """What `device` has not answered yet. Otherwise two sides that repeat would never end."""
    session = run.session
    if run.settled or device in session.members(session.step):
        return ()
    message = told(session).get(device)
    return () if message is None else (do.Send(device, message),)


def _look_into(
    state: at.Masking, index: int, sender: DeviceId, look: do.FetchVector | do.OpenRelease
) -> Step:
    run = state.groups[index]
    if any(signed.device == sender for signed in run.checking):
        raise Rejected(Reason.DUPLICATE, "another answer of this device is being looked into")
    if run.refused.count(sender) >= at.MAX_OFFERS:
        raise Rejected(Reason.LIMIT, f"{at.MAX_OFFERS} answers were looked into and refused")
    checking = (*run.checking, at.Signed(sender, look.envelope))
    return Step(_with(state, index, run.changed(checking=checking)), (look,))


def _found_good(
    terms: RoundTerms,
    session: Session,
    signed: at.Signed,
    event: on.VectorFetched | on.ReleaseOpened,
) -> Session:
    if event.reason is not None:
        raise Rejected(event.reason, event.detail)
    message = open_envelope(signed.envelope, terms.roster.public_keys).message
    if isinstance(event, on.VectorFetched):
        assert isinstance(message, MaskedInput)
        return take(session, signed.device, message, terms.roster.public_keys)
    assert isinstance(message, SealedRelease)
    assert event.release is not None
    return take_release(session, signed.device, message, event.release)


def _taken(terms: RoundTerms, state: at.Masking, index: int, session: Session) -> Step:
    state = _with(state, index, state.groups[index].changed(session))
    return _closed(terms, state, index) if session.complete else Step(state)


def _offer_refused(
    terms: RoundTerms, state: at.Masking, index: int, signed: at.Signed, rejection: Rejected
) -> Step:
    run = state.groups[index]
    counted = run.changed(refused=(*run.refused, signed.device))
    return Step(_with(state, index, counted), refuse(terms, signed.envelope, rejection))


def _closed(terms: RoundTerms, state: at.Masking, index: int, *first: do.Effect) -> Step:
    run = state.groups[index]
    try:
        run = run.changed(close(run.session))
    except Rejected as rejection:
        return _failed(terms, state, index, rejection, *first)
    return Step(_with(state, index, run), (*first, *group_effects(terms, index, run)))


def _failed(
    terms: RoundTerms,
    state: at.Masking,
    index: int,
    rejection: Rejected,
    *first: do.Effect,
    device: DeviceId | None = None,
) -> Step:
    run = state.groups[index]
    log = do.LogRejection(
        device,
        reason_text(rejection.reason),
        f"group {index}: {rejection.detail}"[:200],
        run.session.group.digest,
        index,
    )
    settled = _with(state, index, run.changed(failed=True))
    return _merge_if_settled(terms, settled, *first, log)


def _merge_if_settled(terms: RoundTerms, state: at.Masking, *first: do.Effect) -> Step:
    if not all(run.settled for run in state.groups):
        return Step(state, first)
    first = (*first, *_strikes(state))
    summed = [(run.session.survivors, run.sum) for run in state.groups if run.sum is not None]
    survivors = tuple(sorted(device for devices, _ in summed for device in devices))
    needed = terms.task.minimum_devices
    if len(survivors) < needed:
        detail = f"{len(survivors)} devices in sums that open, {needed} are needed"
        return fail(state, Failure.TOO_FEW_SURVIVORS, detail, *first)
    merging = at.Merging(
        state.start,
        state.sealed,
        state.drawn,
        state.verdicts,
        tuple(cid for _, cid in summed),
        survivors,
    )
    return enter(merging, *first, terms=terms)


def _strikes(state: at.Masking) -> tuple[do.CountStrikes, ...]:
    spoilt = tuple(run.suspects for run in state.groups if run.suspects)
    any_is_good = any(run.sum is not None for run in state.groups)
    return (do.CountStrikes(spoilt, any_is_good),) if spoilt or any_is_good else ()
