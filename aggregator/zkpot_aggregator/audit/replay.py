"""Replaying a validator's fault report: the check that it names is run again.

A report is believed in nothing. Its signature must be one of the task's validators', it must
be about what stands on chain, and the check must fail again, for the same reason and device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from zkpot.check_entries import Seal, check_seal
from zkpot.check_record import CheckFailed
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, Round, TaskId
from zkpot.keys import device_id
from zkpot.proof.system import ProofSystem
from zkpot.record import Roster, Verdicts, decode_object
from zkpot.task import Task
from zkpot.verify import GetObject, RoundTerms
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import FaultReport
from zkpot_aggregator.audit import omission
from zkpot_aggregator.audit.audit import Sources, load_task
from zkpot_aggregator.audit.rounds import (
    Progress,
    RoundAudit,
    drawn_samples,
    named_model,
    read_record,
)
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.views import ZERO, RoundView

HEARSAY = "that it came in time is the validator's word"
"""What replaying an omission cannot show."""


@dataclass(frozen=True)
class Replayed:
    """A report by `validator`, and what its check found now; None if it found nothing."""

    report: FaultReport
    validator: DeviceId
    found: CheckFailed | None

    @property
    def confirmed(self) -> bool:
        """Whether the fault is there, as reported."""
        found, report = self.found, self.report
        return found is not None and (found.check, found.reason, found.device) == (
            report.check,
            report.reason,
            report.device,
        )

    @property
    def hearsay(self) -> bool:
        """Whether it rests, in part, on when the validator heard something."""
        return self.report.check in omission.OMISSIONS


def replay_fault(task_id: TaskId, envelope: bytes, sources: Sources) -> Replayed:
    """Runs the reported check again.

    Raises `Rejected` for a report that none of the task's validators signed, or that is about
    something else than what stands on chain.
    """
    get = partial(get_object, sources.content)
    task = load_task(task_id, sources.ledger, get)
    keys = {device_id(each.public_key): each.public_key for each in task.validators}
    opened = open_as(FaultReport, envelope, keys)
    report = opened.message
    if report.task != task_id:
        raise Rejected(Reason.UNKNOWN_TASK, report.task.hex())
    view = sources.ledger.round(task_id, report.round)
    # Of a round that never closed nothing can be missing or wrong, and there may be no such round.
    if view.record == ZERO or view.record != report.record:
        raise Rejected(Reason.CHAIN_MISMATCH, f"round {report.round} has no such record on chain")
    system = sources.load_system(task)
    try:
        if report.check in omission.OMISSIONS:
            _replay_omission(task_id, task, view, report, get, system)
        else:
            _replay_round(task_id, task, view, sources.ledger, get, system)
    except CheckFailed as failure:
        return Replayed(report, opened.signer, failure)
    return Replayed(report, opened.signer, None)


def _replay_round(
    task_id: TaskId,
    task: Task,
    view: RoundView,
    ledger: Ledger,
    get: GetObject,
    system: ProofSystem,
) -> None:
    parent = Digest(view.parent)
    model = task.genesis if parent == Digest(task_id) else named_model(parent, get)
    spent: set[int] = set()
    for number in map(Round, range(1, view.round)):
        spent.update(drawn_samples(task, ledger.round(task_id, number), spent))
    indices = drawn_samples(task, view, spent)
    progress = Progress(parent, model, spent)
    RoundAudit(task_id, task, system, get, progress).check_closed(view, indices)


def _replay_omission(
    task_id: TaskId,
    task: Task,
    view: RoundView,
    report: FaultReport,
    get: GetObject,
    system: ProofSystem,
) -> None:
    record = read_record(Digest(view.record), get)[1]
    roster = decode_object(Roster, get(record.roster))
    if roster.root != view.roster_root:
        raise Rejected(Reason.ROSTER_MISMATCH, "the record names another roster than the chain")
    terms = RoundTerms(task_id, task, view.round, Digest(view.parent), roster)
    seal = Seal(Digest(view.root), view.count)
    sealed = check_seal(get(record.sealed), seal, terms, get, None)
    said = _said(report.evidence, get)
    if report.check == omission.COMMITMENT:
        omission.check_commitment_listed(terms, sealed, said, system)
    else:
        verdicts = decode_object(Verdicts, get(record.verdicts))
        omission.check_submission_judged(terms, sealed, verdicts, said)


def _said(evidence: Sequence[Cid], get: GetObject) -> omission.Said:
    if not evidence:
        raise Rejected(Reason.NOT_FOUND, "the report names no evidence")
    envelope, *proof = (get(cid) for cid in evidence[:2])
    return omission.Said(envelope, *proof or [b""])
