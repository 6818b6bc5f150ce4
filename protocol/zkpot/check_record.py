"""Checking a round's record: the same numbered checks for leader, validator and auditor.

A checker brings what it knows from its own sources (`Expected`: the chain for auditors, the
announcements a device acted on for leaders); everything else is fetched by CID and follows
from it. The checks, in order:

 1. link: the record is for this task and round, which is one of the task's, and continues the
    chain and the model;
 2. roster: the roster object has the expected root, and no more devices than the task allows;
 3. seal: the list of commitments has the expected root and count; each is validly signed,
    and its commit-time proof is valid;
 4. batch: the beacon is the expected one, and the batch is what it draws from the pool;
 5. gate: the threshold follows from the count of the round's own model on the batch;
 6. verdicts: one for every commitment, and each is what the pipeline says;
 7. misconduct: each accusation carries two conflicting messages signed by the accused;
 8. election: leader and count follow from verdicts and beacon;
 9. sum: the summands are accepted devices with the task's weights, and the new model opens
    the sum of their commitments, unless the task's rule is no sum: then its parameters are in
    range, and the rest is the operator's word;
10. model: the new model's count on the batch has not fallen by more than the margin;
11. refusals: each is signed by an accepted device.

A leader leaves out what only costs it time: other devices' proofs (part of 3 and 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.batch import Batch, Reveal, check_reveal
from zkpot.check_entries import EntryRejected, Seal, check_roster, check_seal, check_verdicts
from zkpot.check_sum import check_sum
from zkpot.cid import Cid
from zkpot.election import rank
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId, device_text
from zkpot.model import Shape, count_correct
from zkpot.proof.system import ProofSystem
from zkpot.record import (
    Misconduct,
    Record,
    Roster,
    Verdicts,
    decode_object,
)
from zkpot.task import Task
from zkpot.verify import (
    GetObject,
    ProofTerms,
    RoundTerms,
    check_commitment_message,
)
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import RecordRefusal


@dataclass(frozen=True)
class Expected:
    """What the checker knows without the record.

    `indices` is None for one who cannot know which samples are spent; then only their place
    in the pool is checked.
    """

    task_id: TaskId
    task: Task
    round: Round
    parent: Digest
    model: Cid
    roster_root: Digest
    sealed_root: Digest
    sealed_count: int
    beacon: Beacon
    indices: Sequence[int] | None


@dataclass(frozen=True, eq=False)
class CheckedRound:
    """A record in which everything was found right, and what it led to."""

    record: Record
    roster: Roster
    verdicts: Verdicts
    batch: Batch
    model_before: GlobalModel
    model_after: GlobalModel


class CheckFailed(Rejected):
    """The named check failed; `device` is whose entry it was, if it was one device's."""

    def __init__(self, check: str, rejection: Rejected, device: DeviceId | None = None) -> None:
        whose = "" if device is None else f" (device {device_text(device)})"
        super().__init__(rejection.reason, f"{check}{whose}: {rejection.detail}")
        self.check = check
        self.device = device
        self._rejection = rejection

    def __reduce__(self) -> tuple[type["CheckFailed"], tuple[object, ...]]:
        return type(self), (self.check, self._rejection, self.device)


CHECKS = (
    "link",
    "roster",
    "seal",
    "batch",
    "gate",
    "verdicts",
    "misconduct",
    "election",
    "sum",
    "model",
    "refusals",
)


class RecordCheck:
    """One run of the checks over one record; `run` does them all, in order."""

    def __init__(
        self, expected: Expected, get_object: GetObject, system: ProofSystem, *, proofs: bool
    ) -> None:
        self._expected = expected
        self._get = get_object
        self._system = system
        self._verifier = system if proofs else None
        self._device: DeviceId | None = None

    def run(self, record: Record) -> CheckedRound:
        """Returns what the record says if all of it is right; raises `CheckFailed` if not."""
        step = "link"
        try:
            self._link(record)
            step = "roster"
            terms = self._roster(record)
            step = "seal"
            seal = Seal(self._expected.sealed_root, self._expected.sealed_count)
            sealed = check_seal(self._get(record.sealed), seal, terms, self._get, self._verifier)
            step = "batch"
            batch = self._batch(record)
            step = "gate"
            before = decode_global_model(self._shape, self._get(record.model_before))
            self._gate(record, before, batch)
            step = "verdicts"
            proof_terms = ProofTerms(terms, sealed, record.beacon, batch, record.threshold)
            verdicts = check_verdicts(
                self._get(record.verdicts), proof_terms, self._get, self._verifier
            )
            step = "misconduct"
            self._misconduct(record, terms)
            step = "election"
            self._election(record, verdicts)
            step = "sum"
            after = self._sum(record, verdicts, proof_terms)
            step = "model"
            self._model(before, after, batch)
            step = "refusals"
            self._refusals(record, terms, verdicts)
        except EntryRejected as rejection:
            raise CheckFailed(step, rejection, rejection.device) from rejection
        except Rejected as rejection:
            raise CheckFailed(step, rejection, self._device) from rejection
        return CheckedRound(record, terms.roster, verdicts, batch, before, after)

    @property
    def _shape(self) -> Shape:
        return self._expected.task.model.shape

    def _link(self, record: Record) -> None:
        expected = self._expected
        _require(record.task == expected.task_id, Reason.UNKNOWN_TASK, "another task")
        _require(record.round == expected.round, Reason.RECORD_LINK, f"round {record.round}")
        last = expected.task.rounds
        _require(record.round <= last, Reason.RECORD_LINK, f"round {record.round} of {last}")
        _require(record.parent == expected.parent, Reason.RECORD_LINK, "another parent record")
        _require(
            record.model_before == expected.model, Reason.MODEL_MISMATCH, "another model before"
        )

    def _roster(self, record: Record) -> RoundTerms:
        expected = self._expected
        roster = check_roster(self._get(record.roster), expected.roster_root, expected.task)
        return RoundTerms(expected.task_id, expected.task, expected.round, expected.parent, roster)

    def _batch(self, record: Record) -> Batch:
        expected = self._expected
        _require(record.beacon == expected.beacon, Reason.BEACON_MISMATCH, "another beacon")
        data, pool = self._get(record.batch), expected.task.pool
        indices = expected.indices
        if indices is None:
            found = decode_object(Reveal, data).samples
            indices = [revealed.sample.index for revealed in found]
            _require(len(set(indices)) == len(indices), Reason.DRAW_MISMATCH, "repeated samples")
        _require(len(indices) == expected.task.batch_size, Reason.DRAW_MISMATCH, "wrong batch size")
        return check_reveal(data, self._shape, pool.root, pool.size, indices)

    def _gate(self, record: Record, before: GlobalModel, batch: Batch) -> None:
        own = count_correct(self._shape, before.theta, batch.inputs, batch.labels)
        threshold = self._expected.task.gate.threshold(own)
        _require(
            record.threshold == threshold,
            Reason.VERDICT_MISMATCH,
            f"threshold {record.threshold}, it follows as {threshold}",
        )

    def _misconduct(self, record: Record, terms: RoundTerms) -> None:
        for accusation in record.misconduct:
            self._device = accusation.device
            check_misconduct(accusation, terms)
        self._device = None

    def _election(self, record: Record, verdicts: Verdicts) -> None:
        accepted = verdicts.accepted
        _require(bool(accepted), Reason.LEADER_MISMATCH, "nobody is accepted")
        leader = rank(record.beacon, accepted)[0]
        _require(
            (record.leader, record.count) == (leader, accepted[leader]),
            Reason.LEADER_MISMATCH,
            f"{device_text(record.leader)} with {record.count}; the verdicts elect "
            f"{device_text(leader)} with {accepted[leader]}",
        )

    def _sum(self, record: Record, verdicts: Verdicts, terms: ProofTerms) -> GlobalModel:
        commitments = self._system.commitments
        return check_sum(record, verdicts.accepted, terms, self._get, commitments)

    def _model(self, before: GlobalModel, after: GlobalModel, batch: Batch) -> None:
        was, now = (
            count_correct(self._shape, model.theta, batch.inputs, batch.labels)
            for model in (before, after)
        )
        _require(
            now >= was - self._expected.task.gate.margin,
            Reason.MODEL_MISMATCH,
            f"the model's count fell from {was} to {now}",
        )

    def _refusals(self, record: Record, terms: RoundTerms, verdicts: Verdicts) -> None:
        for envelope in record.refusals:
            opened = open_as(RecordRefusal, envelope, terms.roster.public_keys)
            about = (opened.message.task, opened.message.round)
            _require(
                opened.signer in verdicts.accepted
                and about == (self._expected.task_id, self._expected.round),
                Reason.RECORD_MALFORMED,
                "a refusal that is not about this round",
            )


def check_misconduct(accusation: Misconduct, terms: RoundTerms) -> None:
    """Raises `Rejected` unless the evidence proves the accusation."""
    _require(
        accusation.reason is Reason.EQUIVOCATION and len(set(accusation.evidence)) == 2,
        Reason.RECORD_MALFORMED,
        "an accusation without evidence",
    )
    for envelope in accusation.evidence:
        opened = check_commitment_message(terms, envelope)
        _require(opened.signer == accusation.device, Reason.RECORD_MALFORMED, "another's evidence")


def _require(condition: bool, reason: Reason, detail: str) -> None:
    if not condition:
        raise Rejected(reason, detail)
