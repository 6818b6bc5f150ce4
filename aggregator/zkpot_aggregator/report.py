"""What happened in each round, for people: from chain, content store and the journal's notes."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from zkpot.aggregate import decode_global_model
from zkpot.batch import Batch
from zkpot.cid import Cid, cid_text, object_cid_from_digest
from zkpot.errors import Failure, reason_text
from zkpot.ids import Round, TaskId, device_text
from zkpot.journal import Journal
from zkpot.model import count_correct
from zkpot.record import Record, SignedRecord, Verdicts, decode_object
from zkpot.task import Task, decode_task, manifest_cid
from zkpot.timing import spans
from zkpot_aggregator.chain import GAS
from zkpot_aggregator.content.base import ContentStore, get_object
from zkpot_aggregator.driver import REJECTION
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.views import Phase, RoundView

_Z_95 = 1.959964


@dataclass(frozen=True)
class RoundReport:
    """One ended round. What is rejected is a device's, or a whole group's sum."""

    round: int
    leader: str | None
    correct: int
    total: int
    accepted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    accuracy_before: float | None
    accuracy_after: float | None
    record_cid: str | None
    failure: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), as fractions; it holds the share itself."""
    share, z = correct / total, _Z_95
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # Rounding alone would put the ends beside 0 and 1 where they are exactly that.
    return min(share, max(0.0, (middle - spread) / scale)), max(
        share, min(1.0, (middle + spread) / scale)
    )


class Reporter:
    """Reads reports of one task."""

    def __init__(
        self,
        task_id: TaskId,
        ledger: Ledger,
        content: ContentStore,
        journal: Journal,
        holdout: Batch | None,
    ) -> None:
        self._task_id = task_id
        self._ledger = ledger
        self._content = content
        self._journal = journal
        self._holdout = holdout
        self.task: Task = decode_task(get_object(content, manifest_cid(task_id)))

    def rounds(self) -> list[RoundReport]:
        """Every ended round, in order."""
        last = self._ledger.task(self._task_id).last_round
        views = [self._ledger.round(self._task_id, Round(n)) for n in range(1, last + 1)]
        return [
            self.round(view)
            for view in views
            if view.phase in (Phase.CLOSED, Phase.FINAL, Phase.FAILED, Phase.REJECTED)
        ]

    def round(self, view: RoundView) -> RoundReport:
        """One ended round."""
        rejected = self._rejections(view.round)
        if view.phase not in (Phase.CLOSED, Phase.FINAL):
            failure = (
                Failure(view.fail_reason).name.lower().replace("_", "-")
                if view.phase is Phase.FAILED
                else "rejected-by-validators"
            )
            return RoundReport(
                view.round,
                None,
                0,
                0,
                [],
                rejected,
                None,
                None,
                None,
                failure,
                self._phase_seconds(view.round),
            )
        signed_cid = object_cid_from_digest(view.record)
        signed = decode_object(SignedRecord, get_object(self._content, signed_cid))
        record = decode_object(Record, get_object(self._content, signed.record))
        verdicts = decode_object(Verdicts, get_object(self._content, record.verdicts))
        total = self.task.batch_size
        accepted = [
            {
                "device": device_text(device),
                "correct": count,
                "interval": [round(end, 4) for end in wilson_interval(count, total)],
            }
            for device, count in verdicts.accepted.items()
        ]
        for verdict in verdicts.verdicts:
            entry = {"device": device_text(verdict.device), "code": reason_text(verdict.reason)}
            if verdict.reason is not None and entry not in rejected:
                rejected.append(entry)
        return RoundReport(
            view.round,
            device_text(record.leader),
            record.count,
            total,
            accepted,
            rejected,
            self._accuracy(record.model_before),
            self._accuracy(record.model_after),
            cid_text(signed_cid),
            None,
            self._phase_seconds(view.round),
        )

    def gas(self) -> dict[str, list[int]]:
        """Gas by contract call, round by round."""
        by_call: dict[str, dict[str, int]] = defaultdict(dict)
        for event in self._journal.events(GAS):
            number, call, _ = event.key.split("/")
            by_call[call][number] = int(event.value)
        return {call: list(rounds.values()) for call, rounds in by_call.items()}

    def _accuracy(self, model: Cid) -> float | None:
        """Of the integer model on the holdout, which no device trains on."""
        holdout = self._holdout
        if holdout is None:
            return None
        shape = self.task.model.shape
        theta = decode_global_model(shape, get_object(self._content, model)).theta
        return count_correct(shape, theta, holdout.inputs, holdout.labels) / holdout.size

    def _rejections(self, number: Round) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for event in self._journal.events(REJECTION):
            if event.key.startswith(f"{number}/"):
                value = json.loads(event.value)
                entry = {name: value[name] for name in ("device", "code", "group") if name in value}
                if entry not in found:
                    found.append(entry)
        return found

    def _phase_seconds(self, number: Round) -> dict[str, float]:
        seconds: dict[str, float] = defaultdict(float)
        for what, began, ended in spans(self._journal, number):
            if what.startswith("phase-"):
                seconds[what.removeprefix("phase-")] += ended - began
        return {name: round(value, 3) for name, value in seconds.items()}


def busy_seconds(intervals: list[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, -math.inf
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total
