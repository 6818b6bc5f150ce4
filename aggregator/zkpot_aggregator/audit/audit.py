"""The audit: every round from the task's creation on, from chain and content store alone.

For the task: its manifest is the one its id names, and names this chain and contract. Then
each round in order, as `zkpot_aggregator.audit.rounds` does it. The audit stops at the first
fault and names it. Of a task that runs on it sees what stood on chain when it began.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zkpot.check_record import CheckFailed
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest, Round, TaskId
from zkpot.proof.system import ProofSystem
from zkpot.task import SRS_INSECURE_DEMO, Task, decode_task, manifest_cid
from zkpot.verify import GetObject
from zkpot_aggregator.audit.report import AuditReport, Fault, RoundFinding
from zkpot_aggregator.audit.rounds import Progress, RoundAudit
from zkpot_aggregator.content.base import ContentStore, get_object
from zkpot_aggregator.ledger.base import EMBEDDED_CHAIN_ID, Ledger
from zkpot_aggregator.ledger.views import RoundView


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
        get = partial(get_object, sources.content)
        task = load_task(task_id, sources.ledger, get)
        report.proof_system = task.proof_system
        report.assumptions = weak_assumptions(task)
        report.sums_checked = task.combination.is_sum
        system = sources.load_system(task)
        progress = Progress(Digest(task_id), task.genesis)
        rounds = RoundAudit(task_id, task, system, get, progress)
        check = "chain"
        stands, views = sources.ledger.task(task_id), list[RoundView]()
        for number in map(Round, range(1, stands.last_round + 1)):
            views.append(sources.ledger.round(task_id, number))
        # A running task may move on while it is read.
        heads = {stands.head, sources.ledger.task(task_id).head}
        for view in views:
            check, number = "chain", view.round
            finding = rounds.run(view)
            report.rounds.append(finding)
            on_round(finding)
        check, number = "chain", Round(0)
        _require(
            progress.head in heads,
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


def load_task(task_id: TaskId, ledger: Ledger, get: GetObject) -> Task:
    """The task's manifest, if chain and manifest agree about it; raises `Rejected`."""
    task = decode_task(get(manifest_cid(task_id)))
    view, identity = ledger.task(task_id), ledger.identity()
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


def _require(condition: bool, reason: Reason, detail: str) -> None:
    if not condition:
        raise Rejected(reason, detail)
