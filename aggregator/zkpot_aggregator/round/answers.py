"""Answers to devices: receipts for what was taken, reasons for what was refused."""

from zkpot.errors import Reason, Rejected, reason_text
from zkpot.ids import DeviceId
from zkpot.verify import (
    RoundTerms,
)
from zkpot.wire.envelope import envelope_digest, open_envelope
from zkpot.wire.messages import (
    Receipt,
)
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import states as at


def find(signed: tuple[at.Signed, ...], envelope: bytes) -> at.Signed | None:
    """The entry with this very envelope, if there is one."""
    return next((each for each in signed if each.envelope == envelope), None)


def without(signed: tuple[at.Signed, ...], gone: at.Signed) -> tuple[at.Signed, ...]:
    """The list less one entry."""
    return tuple(each for each in signed if each != gone)


def receipt(
    terms: RoundTerms,
    device: DeviceId,
    envelope: bytes,
    reason: Reason | None = None,
    detail: str = "",
) -> do.Send:
    """Tells a device that its envelope was taken, or why not."""
    name = envelope_digest(envelope)
    return do.Send(device, Receipt(terms.task_id, terms.round, name, reason, detail[:200]))


def again(terms: RoundTerms, state: at.State, envelope: bytes) -> tuple[do.Effect, ...] | None:
    """What answered an envelope that an earlier phase has taken; None if none has.

    A device that missed its receipt, or is asked again after a restart, sends again: that is no
    fault of its own. A signature is answered by the announcement that the round is closed.
    """
    if envelope == getattr(state, "leader_signature", None):
        return ()
    sealed: at.SealedCommitments | None = getattr(state, "sealed", None)
    if sealed is not None:
        name = envelope_digest(envelope)
        for device, known in zip(sealed.devices, sealed.envelopes, strict=True):
            if known == name:
                return (receipt(terms, device, envelope),)
    for verdict in getattr(state, "verdicts", ()):
        if verdict.submission == envelope:
            return (receipt(terms, verdict.device, envelope, verdict.reason),)
    signed = find(getattr(state, "openings", ()), envelope)
    return None if signed is None else (receipt(terms, signed.device, envelope),)


def too_late(terms: RoundTerms, checking: tuple[at.Signed, ...]) -> tuple[do.Effect, ...]:
    """Refuses what was still being checked when its phase ended: nobody is left in silence."""
    rejection = Rejected(Reason.OUT_OF_PHASE, "its check had not ended at the deadline")
    return tuple(
        effect for signed in checking for effect in refuse(terms, signed.envelope, rejection)
    )


def refuse(terms: RoundTerms, envelope: bytes, rejection: Rejected) -> tuple[do.Effect, ...]:
    """Logs a rejection; answers it if the envelope really is by a device of the roster."""
    try:
        signer: DeviceId | None = open_envelope(envelope, terms.roster.public_keys).signer
    except Rejected:
        signer = None
    name = envelope_digest(envelope)
    log = do.LogRejection(signer, reason_text(rejection.reason), rejection.detail[:200], name)
    if signer is None:
        return (log,)
    return (log, receipt(terms, signer, envelope, rejection.reason, rejection.detail))
