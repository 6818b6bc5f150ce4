"""The audit: every round from the task's creation on, from chain and content store alone.

For the task: its manifest is the one its id names, and names this chain and contract. Then
for each round, in order:

 1. chain: the round continues the head, its phases are in order, its beacon follows from
    the chain's own headers, and its leader and counts are those of the record;
 2. record: the signed record and the record it names can be read;
 3. the numbered checks of `zkpot.check_record`, with every proof;
 4. signatures: the record is signed by the operator and by an accepted device.

The audit stops at the first fault and names it. Drawn samples are spent from the draw on,
whatever became of the round.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from zkpot.batch import draw
from zkpot.check_record import CHECKS, CheckedRound, CheckFailed, Expected, RecordCheck
from zkpot.cid import Cid, object_cid_from_digest
from zkpot.errors import Failure, Reason, Rejected
from zkpot.ids import DeviceId, Digest, Round, TaskId, device_text
from zkpot.keys import device_id
from zkpot.proof.system import ProofSystem
from zkpot.record import Record, SignedRecord, decode_object
from zkpot.task import SRS_INSECURE_DEMO, Task, decode_task, manifest_cid
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import RecordSignature
from zkpot_aggregator.audit.report import AuditReport, Fault, RoundFinding
from zkpot_aggregator.content.base import ContentStore, get_object
from zkpot_aggregator.ledger.base import EMBEDDED_CHAIN_ID, Ledger
from zkpot_aggregator.ledger.calls import device_word
from zkpot_aggregator.ledger.views import ZERO, Phase, RoundView

_DRAWN = frozenset({Phase.DRAWN, Phase.CLOSED, Phase.FAILED, Phase.FINAL, Phase.REJECTED})
_RECORDED = frozenset({Phase.CLOSED, Phase.FINAL})
_CHAIN_CHECKS = ("chain", "record", "signatures")


@dataclass
class _Progress:
    """What the rounds so far have led to."""

    head: Digest
    model: Cid
    spent: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Sources:
    """Where an audit reads, and the proof system it verifies with."""

    ledger: Ledger
    content: ContentStore
    load_system: Callable[[Task], ProofSystem]


def audit(
    task_id: TaskId, sources: Sources, on_round: Callable[[RoundFinding], None] = lambda _: None
) -> AuditReport:
    """Re-verifies the task; the report names the first fault, if there is one.

    Raises `Transient` or `Fatal` only if chain or store cannot be read at all.
    """
    report = AuditReport(task_id)
    number = Round(0)
    check = "task"
    try:
        task = _task(task_id, sources)
        report.proof_system = task.proof_system
        report.assumptions = weak_assumptions(task)
        report.sums_checked = task.combination.is_sum
        system = sources.load_system(task)
        progress = _Progress(Digest(task_id), task.genesis)
        for number in map(Round, range(1, sources.ledger.task(task_id).last_round + 1)):
            check = "chain"
            view = sources.ledger.round(task_id, number)
            finding = _RoundAudit(task_id, task, system, sources, progress).run(view)
            report.rounds.append(finding)
            on_round(finding)
        check, number = "chain", Round(0)
        _require(
            sources.ledger.task(task_id).head == progress.head,
            Reason.CHAIN_MISMATCH,
            "the head is not the last good record",
        )
    except CheckFailed as failure:
        report.fault = Fault(number, failure.check, failure.reason, failure.detail, failure.device)
    except Rejected as rejection:
        report.fault = Fault(number, check, rejection.reason, rejection.detail, None)
    return report


def weak_assumptions(task: Task) -> list[str]:
    """What a reader of a clean audit must still take on trust."""
    found = []
    if task.srs == SRS_INSECURE_DEMO:
        found.append(f"srs: {SRS_INSECURE_DEMO}")
    if task.ledger.chain_id == EMBEDDED_CHAIN_ID:
        found.append("beacon: operator-controlled")
    if not task.validators:
        found.append("validators: none")
    if task.pool.reuse:
        found.append("batch_unpredictable: false")
    if not task.combination.is_secure:
        found.append("aggregation: the aggregator saw the models")
    if not task.combination.is_sum:
        found.append("aggregate: operator-trusted")
    return found


def _task(task_id: TaskId, sources: Sources) -> Task:
    task = decode_task(get_object(sources.content, manifest_cid(task_id)))
    view, identity = sources.ledger.task(task_id), sources.ledger.identity()
    _require(
        (task.ledger.chain_id, task.ledger.contract) == (identity.chain_id, identity.contract),
        Reason.TASK_MISMATCH,
        "the manifest names another chain or contract",
    )
    _require(
        (view.draw_delay, view.validators, view.quorum)
        == (task.ledger.draw_delay, tuple(v.address for v in task.validators), task.quorum),
        Reason.TASK_MISMATCH,
        "chain and manifest disagree about draw delay, validators or quorum",
    )
    return task


class _RoundAudit:
    """One round; `run` moves `progress` on."""

    def __init__(
        self,
        task_id: TaskId,
        task: Task,
        system: ProofSystem,
        sources: Sources,
        progress: _Progress,
    ) -> None:
        self._task_id = task_id
        self._task = task
        self._system = system
        self._sources = sources
        self._progress = progress

    def run(self, view: RoundView) -> RoundFinding:
        """Returns what was found right; raises `Rejected` or `CheckFailed`."""
        indices = self._draw(view)
        if view.phase not in _RECORDED:
            return self._without_record(view)
        parent = self._progress.head
        _require(view.parent == parent, Reason.CHAIN_MISMATCH, "not on top of the head")
        signed, record = self._record(view)
        expected = Expected(
            task_id=self._task_id,
            task=self._task,
            round=view.round,
            parent=parent,
            model=self._progress.model,
            roster_root=Digest(view.roster_root),
            sealed_root=Digest(view.root),
            sealed_count=view.count,
            beacon=view.beacon,
            indices=indices,
        )
        checked = RecordCheck(expected, self._get, self._system, proofs=True).run(record)
        try:
            self._on_chain(view, checked)
            self._signatures(signed, checked)
        except Rejected as rejection:
            check = "signatures" if rejection.reason in _SIGNATURE_REASONS else "chain"
            raise CheckFailed(check, rejection) from rejection
        self._progress.head = Digest(view.record)
        self._progress.model = record.model_after
        return _finding(view, checked)

    def _draw(self, view: RoundView) -> list[int]:
        """The samples this round's beacon selects; they are spent from here on."""
        if view.phase not in _DRAWN or view.beacon == ZERO:
            return []
        spent = () if self._task.pool.reuse else self._progress.spent
        if view.fail_reason == Failure.POOL_EXHAUSTED:
            return []
        indices = draw(view.beacon, self._task.pool.size, self._task.batch_size, spent)
        self._progress.spent.update(indices)
        return indices

    def _without_record(self, view: RoundView) -> RoundFinding:
        reason = {
            Phase.FAILED: f"failed: {_failure_text(view.fail_reason)}",
            Phase.REJECTED: "rejected by the validators",
        }.get(view.phase, "unfinished")
        after_seal = " after its commitments were sealed" if view.count else ""
        return RoundFinding(view.round, view.phase, None, 0, 0, 0, 0, 0, 1, (reason + after_seal,))

    def _record(self, view: RoundView) -> tuple[SignedRecord, Record]:
        try:
            signed = decode_object(SignedRecord, self._get(object_cid_from_digest(view.record)))
            return signed, decode_object(Record, self._get(signed.record))
        except Rejected as rejection:
            raise CheckFailed("record", rejection) from rejection

    def _on_chain(self, view: RoundView, checked: CheckedRound) -> None:
        record = checked.record
        on_chain = (view.leader, view.correct, view.total)
        expected = (device_word(record.leader), record.count, self._task.batch_size)
        _require(
            on_chain == expected,
            Reason.CHAIN_MISMATCH,
            f"the chain says {view.correct} of {view.total} by {view.leader.hex()[-40:]}, "
            f"the record {record.count} of {self._task.batch_size} by {record.leader.hex()}",
        )

    def _signatures(self, signed: SignedRecord, checked: CheckedRound) -> None:
        operator = {device_id(self._task.operator_key): self._task.operator_key}
        signers: dict[DeviceId, bytes] = {
            device: checked.roster.public_keys[device] for device in checked.verdicts.accepted
        }
        wanted = RecordSignature(self._task_id, checked.record.round, signed.record)
        for envelope, keys in (
            (signed.leader_signature, signers),
            (signed.operator_signature, operator),
        ):
            found = open_as(RecordSignature, envelope, keys)
            _require(
                found.message == wanted, Reason.RECORD_SIGNATURE, "a signature of something else"
            )

    def _get(self, cid: Cid) -> bytes:
        return get_object(self._sources.content, cid)


_SIGNATURE_REASONS = frozenset(
    {
        Reason.RECORD_SIGNATURE,
        Reason.BAD_SIGNATURE,
        Reason.NOT_IN_ROSTER,
        Reason.UNKNOWN_TYPE,
        Reason.MALFORMED,
    }
)


def _finding(view: RoundView, checked: CheckedRound) -> RoundFinding:
    record, accepted = checked.record, checked.verdicts.accepted
    notes = [f"{device_text(m.device)}: {m.reason.name.lower()}" for m in record.misconduct]
    notes += [f"{len(record.refusals)} leaders refused"] if record.refusals else []
    if len(record.sum.summands) < len(accepted):
        notes.append(f"{len(record.sum.summands)} of {len(accepted)} accepted models summed")
    entries = len(checked.verdicts.verdicts)
    return RoundFinding(
        round=view.round,
        phase=view.phase,
        leader=record.leader,
        count=record.count,
        total=checked.batch.size,
        accepted=len(accepted),
        rejected=entries - len(accepted),
        summed=len(record.sum.summands),
        checks=len(_CHAIN_CHECKS) + len(CHECKS) + 2 * entries,
        notes=tuple(notes),
    )


def _failure_text(number: int) -> str:
    try:
        return Failure(number).name.lower().replace("_", "-")
    except ValueError:
        return f"reason {number}"


def _require(condition: bool, reason: Reason, detail: str) -> None:
    if not condition:
        raise Rejected(reason, detail)
