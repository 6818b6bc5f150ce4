"""What the agent does in child processes: training, committing, masking, checking.

Every job is a pure function of its arguments, so that a killed one is simply run again.
Proving is `zkpot.proof.jobs.prove`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zkpot.aggregate import GlobalModel
from zkpot.check_record import Expected, RecordCheck
from zkpot.cid import Cid
from zkpot.errors import Fatal, Reason, Rejected
from zkpot.ids import DeviceId, Digest, Round, TaskId
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening, Obstacle, Progress, ProvingFailed
from zkpot.record import Record
from zkpot.secure import member
from zkpot.secure.exchange import ToMember
from zkpot.secure.states import MemberState
from zkpot.secure.sums import decode_group_sum
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
    """Trains from `start` on the device's own data; the blinding is still empty.

    Raises `ProvingFailed` (UNAVAILABLE) where data or trainer cannot be used, which may pass.
    """
    try:
        samples = load_samples(open_source(data.source, data.parameters), task.model.shape)
        trainer = find_trainer(config.trainer)
    except Fatal as error:
        # Of any other error a child process tells the place only.
        raise ProvingFailed(Obstacle.UNAVAILABLE, str(error)) from error
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


def answer(
    _progress: Progress, state: MemberState, message: ToMember, own: member.Own
) -> member.Answer:
    """Takes the next step as a member of a group; raises `Rejected` if it must not be taken."""
    return member.answer(state, message, own)


@dataclass(frozen=True)
class Confirmed:
    """The list of survivors that this device signed in its group."""

    index: int
    survivors: tuple[DeviceId, ...]


@dataclass(frozen=True)
class OwnEntry:
    """What this device knows of itself in a round.

    `opening_taken`: it has a receipt for it. `confirmed`: in secure mode, what it signed.
    """

    device: DeviceId
    count: int
    opening_taken: bool = False
    confirmed: Confirmed | None = None


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
    for cid in record.groups:
        found = decode_group_sum(get(cid))
        signed = own.confirmed
        if signed and signed.index == found.index and signed.survivors != found.survivors:
            raise Rejected(Reason.SUM_MISMATCH, "our group's sum is not of those we confirmed")
    return record.parent
