"""One round of an audit, or of a validator: checked against the chain and the rounds before.

 1. chain: the round continues the head, its beacon follows from the chain's own headers, and
    its leader and counts are those of the record;
 2. record: the signed record and the record it names can be read;
 3. the numbered checks of `zkpot.check_record`, with every proof;
 4. signatures: the record is signed by the operator and by an accepted device.

Drawn samples are spent from the draw on, whatever became of the round. A round that a quorum
of validators has made final, but whose objects are gone, is not re-verified; the rounds after
it go on from what the next record says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zkpot.batch import draw
from zkpot.check_record import CHECKS, CheckedRound, CheckFailed, Expected, RecordCheck
from zkpot.cid import Cid, object_cid_from_digest
from zkpot.errors import Failure, Reason, Rejected
from zkpot.ids import DeviceId, Digest, TaskId, device_text
from zkpot.keys import device_id
from zkpot.proof.system import ProofSystem
from zkpot.record import Record, SignedRecord, decode_object
from zkpot.task import Task
from zkpot.verify import GetObject
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import RecordSignature
from zkpot_aggregator.audit.report import RoundFinding, Standing
from zkpot_aggregator.ledger.calls import device_word
from zkpot_aggregator.ledger.views import ZERO, Phase, RoundView

_DRAWN = frozenset({Phase.DRAWN, Phase.CLOSED, Phase.FAILED, Phase.FINAL, Phase.REJECTED})
_RECORDED = frozenset({Phase.CLOSED, Phase.FINAL})
_CHAIN_CHECKS = ("chain", "record", "signatures")


@dataclass
class Progress:
    """What the rounds so far have led to.

    `model` is None after a round whose record is gone. `spent` are the drawn samples.
    """

    head: Digest
    model: Cid | None
    spent: set[int] = field(default_factory=set)


def drawn_samples(task: Task, view: RoundView, spent: set[int]) -> list[int]:
    """The samples that this round's beacon selects, given those that were spent before.

    A failed round spends them whatever reason it gives, and none if too few were left. Raises
    `CheckFailed` if too few were left for a round that went on.
    """
    if view.phase not in _DRAWN or view.beacon == ZERO:
        return []
    try:
        return draw(view.beacon, task.pool.size, task.batch_size, () if task.pool.reuse else spent)
    except Rejected as rejection:
        if view.phase is Phase.FAILED:
            return []
        raise CheckFailed("chain", rejection) from rejection


def read_record(on_chain: Digest, get_object: GetObject) -> tuple[SignedRecord, Record]:
    """The record that stands on chain with this digest; raises `CheckFailed`."""
    try:
        signed = decode_object(SignedRecord, get_object(object_cid_from_digest(on_chain)))
        return signed, decode_object(Record, get_object(signed.record))
    except Rejected as rejection:
        raise CheckFailed("record", rejection) from rejection


def named_model(on_chain: Digest, get_object: GetObject) -> Cid | None:
    """The model that this record leads to, if that much of it is still there."""
    try:
        return read_record(on_chain, get_object)[1].model_after
    except CheckFailed:
        return None


class RoundAudit:
    """One round; `run` moves `progress` on."""

    def __init__(
        self,
        task_id: TaskId,
        task: Task,
        system: ProofSystem,
        get_object: GetObject,
        progress: Progress,
    ) -> None:
        self._task_id = task_id
        self._task = task
        self._system = system
        self._get = get_object
        self._progress = progress

    def run(self, view: RoundView) -> RoundFinding:
        """Returns what was found right; raises `Rejected` or `CheckFailed`."""
        indices = drawn_samples(self._task, view, self._progress.spent)
        self._progress.spent.update(indices)
        if view.phase not in _RECORDED:
            return self._without_record(view)
        try:
            finding = self.check_closed(view, indices)
        except CheckFailed as failure:
            if failure.reason is not Reason.NOT_FOUND or view.phase is not Phase.FINAL:
                raise
            finding = self._not_verified(view)
            self._progress.model = named_model(Digest(view.record), self._get)
        self._progress.head = Digest(view.record)
        return finding

    def check_closed(self, view: RoundView, indices: Sequence[int]) -> RoundFinding:
        """A round that was closed, whatever became of it later; raises `CheckFailed`."""
        if view.parent != self._progress.head:
            unlinked = Rejected(Reason.CHAIN_MISMATCH, "not on top of the head")
            raise CheckFailed("chain", unlinked)
        signed, record = read_record(Digest(view.record), self._get)
        expected = Expected(
            task_id=self._task_id,
            task=self._task,
            round=view.round,
            parent=self._progress.head,
            model=self._progress.model or record.model_before,
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
        self._progress.model = record.model_after
        return self._finding(view, checked)

    def _standing(self, view: RoundView) -> Standing:
        if view.phase is Phase.CLOSED and self._task.validators:
            return Standing.UNATTESTED
        return PHASE_TO_STANDING.get(view.phase, Standing.UNFINISHED)

    def _without_record(self, view: RoundView) -> RoundFinding:
        reason = {
            Phase.FAILED: f"failed: {_failure_text(view.fail_reason)}",
            Phase.REJECTED: "rejected by the validators",
        }.get(view.phase, "unfinished")
        after_seal = " after its commitments were sealed" if view.count else ""
        return RoundFinding(
            round=view.round,
            phase=view.phase,
            standing=self._standing(view),
            sealed=bool(view.count),
            checks=1,
            notes=(reason + after_seal,),
        )

    def _not_verified(self, view: RoundView) -> RoundFinding:
        return RoundFinding(
            round=view.round,
            phase=view.phase,
            standing=self._standing(view),
            sealed=True,
            verified=False,
            count=view.correct,
            total=view.total,
            checks=1,
            notes=("attested, not re-verified: its objects are gone", *self._votes(view)),
        )

    def _votes(self, view: RoundView) -> tuple[str, ...]:
        if not self._task.validators:
            return ()
        return (f"attested by {len(view.attested)} of {len(self._task.validators)} validators",)

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

    def _finding(self, view: RoundView, checked: CheckedRound) -> RoundFinding:
        record, accepted = checked.record, checked.verdicts.accepted
        notes = [f"{device_text(m.device)}: {m.reason.name.lower()}" for m in record.misconduct]
        notes += [f"{len(record.refusals)} leaders refused"] if record.refusals else []
        if len(record.sum.summands) < len(accepted):
            notes.append(f"{len(record.sum.summands)} of {len(accepted)} accepted models summed")
        entries = len(checked.verdicts.verdicts)
        return RoundFinding(
            round=view.round,
            phase=view.phase,
            standing=self._standing(view),
            sealed=True,
            leader=record.leader,
            count=record.count,
            total=checked.batch.size,
            accepted=len(accepted),
            rejected=entries - len(accepted),
            summed=len(record.sum.summands),
            checks=len(_CHAIN_CHECKS) + len(CHECKS) + 2 * entries,
            notes=(*notes, *self._votes(view)),
        )


_SIGNATURE_REASONS = frozenset(
    {
        Reason.RECORD_SIGNATURE,
        Reason.BAD_SIGNATURE,
        Reason.NOT_IN_ROSTER,
        Reason.UNKNOWN_TYPE,
        Reason.MALFORMED,
    }
)


PHASE_TO_STANDING = {
    Phase.CLOSED: Standing.CLOSED,
    Phase.FINAL: Standing.FINAL,
    Phase.REJECTED: Standing.REJECTED,
    Phase.FAILED: Standing.FAILED,
}


def _failure_text(number: int) -> str:
    try:
        return Failure(number).name.lower().replace("_", "-")
    except ValueError:
        return f"reason {number}"


def _require(condition: bool, reason: Reason, detail: str) -> None:
    if not condition:
        raise Rejected(reason, detail)
