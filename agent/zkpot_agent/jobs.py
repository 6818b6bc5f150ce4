"""What the agent does in child processes: training, committing, checking.

Every job is a pure function of its arguments, so that a killed one is simply run again.
Proving is `zkpot.proof.jobs.prove`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zkpot.aggregate import GlobalModel
from zkpot.check_record import Expected, RecordCheck
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, Round, TaskId
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening, Progress
from zkpot.record import Record
from zkpot.statement import commitment_context
from zkpot.task import Task
from zkpot_agent.config import DataConfig, TrainConfig
from zkpot_agent.data.source import load_samples, open_source
from zkpot_agent.train.trainer import find_trainer


@dataclass(frozen=True, repr=False)
class Committed:
    """A trained model's opening, its commitment, and the commit-time proof if there is one."""

    opening: ModelOpening
    commitment: bytes
    wellformed: bytes | None


def train(
    progress: Progress,
    task: Task,
    start: GlobalModel,
    data: DataConfig,
    config: TrainConfig,
    seed: int,
) -> ModelOpening:
    """Trains from `start` on the device's own data; the blinding is still empty."""
    samples = load_samples(open_source(data.source, data.parameters), task.model.shape)
    trainer = find_trainer(config.trainer)
    theta = trainer.train(task.model, start, samples, config.settings, seed=seed, progress=progress)
    return ModelOpening(theta, b"")


def commit(
    progress: Progress,
    backend: Backend,
    trained: ModelOpening,
    task_id: TaskId,
    round_number: Round,
    public_key: bytes,
) -> Committed:
    """Commits to a trained model with fresh blinding and proves it well formed."""
    system = backend.load()
    progress("commit", 0.0)
    opening = ModelOpening(trained.theta, system.commitments.random_blinding())
    commitment = system.commitments.commit(opening)
    context = commitment_context(task_id, round_number, public_key, commitment)
    wellformed = system.prove_wellformed(opening, context)
    progress("commit", 1.0)
    return Committed(opening, commitment, wellformed)


@dataclass(frozen=True)
class OwnEntry:
    """What this device knows of itself in a round; `opening_taken`: it has a receipt for it."""

    device: DeviceId
    count: int
    opening_taken: bool


def check_record(
    _progress: Progress,
    backend: Backend,
    expected: Expected,
    record: Record,
    objects: Mapping[Cid, bytes],
    own: OwnEntry,
) -> Digest:
    """The leader's check of a proposed record; returns its parent, raises `Rejected`.

    Other devices' proofs are left out; the sum, the election and our own entries are not.
    """

    def get(cid: Cid) -> bytes:
        if cid not in objects:
            raise Rejected(Reason.NOT_FOUND, "an object the record names")
        return objects[cid]

    checked = RecordCheck(expected, get, backend.load(), proofs=False).run(record)
    if checked.verdicts.accepted.get(own.device) != own.count:
        raise Rejected(Reason.VERDICT_MISMATCH, "our own count is not as proven")
    summands = {summand.device for summand in record.sum.summands}
    if own.opening_taken and own.device not in summands:
        raise Rejected(Reason.SUM_MISMATCH, "our own model is left out of the sum")
    return record.parent
