"""Checks 2, 3 and 6 of a record: the roster, every device's sealed commitment, and its verdict.

Validators use them before there is a record.

Proofs of one batch are verified together where the proof system can; whatever fails there is
verified again by itself, so that each device's verdict has its own reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected, reason_text
from zkpot.ids import DeviceId, Digest
from zkpot.proof.system import ProofSystem
from zkpot.proof.together import verify_together
from zkpot.record import Roster, SealedList, Verdict, Verdicts, decode_object
from zkpot.task import Task
from zkpot.verify import (
    Claim,
    GetObject,
    ProofTerms,
    RoundTerms,
    check_commitment_message,
    check_submission_message,
    read_claim,
    verify_commitment,
)
from zkpot.wire.messages import Commitment

PROOFS_TOGETHER = 64
"""Held in memory at once: a few MiB, and nearly all that is gained by more."""


class EntryRejected(Rejected):
    """The entry of `device` is not right."""

    def __init__(self, device: DeviceId, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.device = device

    def __reduce__(self) -> tuple[type["EntryRejected"], tuple[object, ...]]:
        return type(self), (self.device, self.reason, self.detail)


class _NotObtained(Rejected):
    """A proof that cannot be had here, or is damaged: this says nothing about its device."""


@dataclass(frozen=True)
class Seal:
    """What stands on chain of the list of commitments."""

    root: Digest
    count: int


def check_roster(data: bytes, root: Digest, task: Task) -> Roster:
    """The roster; raises `Rejected` (ROSTER_MISMATCH) unless it is the one that was expected."""
    roster = decode_object(Roster, data)
    _require(roster.root == root, Reason.ROSTER_MISMATCH, "another roster root")
    number, most = len(roster.entries), task.maximum_devices
    _require(number <= most, Reason.ROSTER_MISMATCH, f"{number} devices, at most {most}")
    return roster


def check_seal(
    data: bytes, seal: Seal, terms: RoundTerms, get_object: GetObject, system: ProofSystem | None
) -> dict[DeviceId, Commitment]:
    """The sealed commitments, each validly signed; with `system`, with a valid proof too."""
    listed = decode_object(SealedList, data)
    _require(listed.root == seal.root, Reason.SEAL_MISMATCH, "another seal root")
    _require(
        len(listed.envelopes) == seal.count,
        Reason.SEAL_MISMATCH,
        f"{len(listed.envelopes)} commitments, {seal.count} were sealed",
    )
    sealed = listed.open(terms.roster)
    for device, envelope in zip(sealed, listed.envelopes, strict=True):
        try:
            if system is None:
                check_commitment_message(terms, envelope)
            else:
                verify_commitment(terms, envelope, get_object, system)
        except Rejected as rejection:
            raise EntryRejected(device, rejection.reason, rejection.detail) from rejection
    return sealed


def check_verdicts(
    data: bytes, terms: ProofTerms, get_object: GetObject, system: ProofSystem | None
) -> Verdicts:
    """One verdict for every commitment; with `system`, each is what the pipeline says."""
    verdicts = decode_object(Verdicts, data)
    _require(
        [verdict.device for verdict in verdicts.verdicts] == list(terms.sealed),
        Reason.VERDICT_MISMATCH,
        "verdicts and sealed commitments are not one to one",
    )
    for verdict in verdicts.verdicts:
        try:
            _check_message(verdict, terms)
        except Rejected as rejection:
            raise EntryRejected(verdict.device, rejection.reason, rejection.detail) from rejection
    if system is not None:
        judged = [verdict for verdict in verdicts.verdicts if verdict.submission is not None]
        for first in range(0, len(judged), PROOFS_TOGETHER):
            some = judged[first : first + PROOFS_TOGETHER]
            _check_proofs(some, terms, get_object, system)
    return verdicts


def _check_message(verdict: Verdict, terms: ProofTerms) -> None:
    if verdict.submission is None:
        silent = verdict.reason is Reason.NO_SUBMISSION and verdict.count == 0
        _require(silent, Reason.VERDICT_MISMATCH, "a verdict without a submission")
        return
    opened = check_submission_message(terms.round, terms.sealed.keys(), verdict.submission, ())
    _require(opened.signer == verdict.device, Reason.VERDICT_MISMATCH, "another's submission")
    count = opened.message.count if verdict.reason is None else 0
    _require(
        verdict.count == count,
        Reason.VERDICT_MISMATCH,
        f"count {verdict.count}, the submission supports {count}",
    )


def _check_proofs(
    verdicts: Sequence[Verdict], terms: ProofTerms, get_object: GetObject, system: ProofSystem
) -> None:
    """Compares each verdict with what the pipeline says of its submission."""
    reasons = _judge(verdicts, terms, get_object, system)
    for verdict, found in zip(verdicts, reasons, strict=True):
        if found != verdict.reason:
            recorded, judged = reason_text(verdict.reason), reason_text(found)
            raise EntryRejected(
                verdict.device,
                Reason.VERDICT_MISMATCH,
                f"recorded as {recorded}, the pipeline says {judged}",
            )


def _judge(
    verdicts: Sequence[Verdict], terms: ProofTerms, get_object: GetObject, system: ProofSystem
) -> list[Reason | None]:
    """`zkpot.verify.verify_submission` for each, with the proofs verified together."""
    reasons: list[Reason | None] = []
    get = partial(_obtained, get_object)
    place_to_claim: dict[int, Claim] = {}
    for place, verdict in enumerate(verdicts):
        assert verdict.submission is not None
        try:
            place_to_claim[place] = read_claim(terms, verdict.submission, get, (), system)
            reasons.append(None)
        except _NotObtained as missing:
            raise EntryRejected(verdict.device, missing.reason, missing.detail) from missing
        except Rejected as rejection:
            reasons.append(rejection.reason)
    claims = [(claim.statement, claim.proof) for claim in place_to_claim.values()]
    for place, refusal in zip(place_to_claim, verify_together(system, claims), strict=True):
        claim = place_to_claim[place]
        if refusal is not None:
            reasons[place] = refusal.reason
        elif claim.statement.count < terms.threshold:
            reasons[place] = Reason.BELOW_GATE
    return reasons


def _obtained(get_object: GetObject, cid: Cid) -> bytes:
    try:
        return get_object(cid)
    except Rejected as rejection:
        raise _NotObtained(rejection.reason, rejection.detail) from rejection


def _require(condition: bool, reason: Reason, detail: str) -> None:
    if not condition:
        raise Rejected(reason, detail)
