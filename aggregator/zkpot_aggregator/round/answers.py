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
