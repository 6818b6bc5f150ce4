"""What a device does in a round: train and commit, prove, contribute, check a record.

Each function fetches what it needs, runs the heavy part in a child process within the
device's limits, and returns the event for the round machine. Secrets go into the journal
under the round's number and nowhere else.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from zkpot.aggregate import decode_global_model
from zkpot.batch import Batch, Reveal, check_reveal
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Round
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair, seal
from zkpot.model import count_correct
from zkpot.opening import encode_opening
from zkpot.proof import child
from zkpot.proof import jobs as proof_jobs
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening, Progress, ProvingFailed
from zkpot.record import Record, Roster, SealedList, Verdicts, decode_object
from zkpot.statement import Statement, commitment_digest, submission_context
from zkpot.task import Task
from zkpot.timing import timed
from zkpot.verify import ProofObject
from zkpot.wire import topics
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Announcement
from zkpot_agent import jobs, thermal_job
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import AgentConfig
from zkpot_agent.leading import Leader
from zkpot_agent.masking import Membership
from zkpot_agent.notes import COUNT
from zkpot_agent.objects import Objects
from zkpot_agent.privacy.job import train_privately
from zkpot_agent.privacy.spending import Budget
from zkpot_agent.profile_holds import NO_HOLDS, Holds, Watch
from zkpot_agent.proving.request import MakeProof, ProofRequest, prove_locally
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round.states import Opened, Proving, Seated, Submitted
from zkpot_agent.round_secrets import kept_opening, opening_key


def cache_dir(config: AgentConfig) -> Path:
    """Where the proof system's public keys are cached."""
    return config.cache_dir or config.state_dir / "cache"


@dataclass(frozen=True)
class Worker:
    """One device's tools. `progress` is told what is being done and how far it is.

    Training waits while `holds` says so; `make_proof` decides where proofs are made.
    """

    config: AgentConfig
    task: Task
    key: KeyPair
    journal: Journal
    blocks: JournalBlocks
    objects: Objects
    progress: Progress
    holds: Holds = NO_HOLDS
    make_proof: MakeProof = prove_locally

    training: ClassVar[Callable[..., ModelOpening]] = staticmethod(thermal_job.train)
    """The job that makes this device's model."""

    membership_type = Membership
    """How it takes part in its group."""

    async def prepare(self) -> None:
        """Makes or loads the proof system's keys before the first round."""
        with timed(self.journal, Round(0), "prepare"):
            await child.run(
                proof_jobs.prepare, self.backend, limits=self._limits(3600), progress=self.progress
            )

    async def train(self, joined: Announcement) -> on.Event:
        """Trains from the round's model and commits to the result."""
        await Watch(self.holds).wait(self.progress)
        start = decode_global_model(self.task.model.shape, await self.objects.fetch(joined.model))
        seed = self.config.train.seed
        seed = secrets.randbits(63) if seed is None else seed + joined.round
        limits = self._limits(self.task.deadlines.commit)
        training, noise = self.training, self.config.privacy.differential
        if noise is not None:
            await Budget(self.journal, noise).charge(joined.round, limits, self.progress)
            training = partial(train_privately, training, noise)
        with timed(self.journal, joined.round, "train"):
            trained = await child.run(
                training,
                self.holds,
                self.task,
                start,
                self.config.data,
                self.config.train,
                seed,
                limits=limits,
                progress=self.progress,
            )
        with timed(self.journal, joined.round, "commit"):
            committed = await child.run(
                jobs.commit,
                self.backend,
                trained,
                self.config.task_id,
                joined.round,
                self.key.public_key,
                limits=limits,
                progress=self.progress,
            )
        self.journal.transition({opening_key(joined.round): encode_opening(committed.opening)})
        proof = committed.wellformed
        wellformed = None if proof is None else self.blocks.offer(proof)
        return on.Trained(joined.round, committed.commitment, wellformed)

    async def prove(self, proving: Proving) -> on.Event:
        """Checks that our commitment is sealed and the batch is the pool's, then proves."""
        joined = proving.joined
        await self._check_sealed(proving)
        batch = await self.batch(proving.batch)
        opening = self.opening(joined.round)
        shape = self.task.model.shape
        count = count_correct(shape, opening.theta, batch.inputs, batch.labels)
        counted = json.dumps([count, batch.size]).encode()
        self.journal.note(COUNT, str(joined.round), counted, rolling=True)
        context = submission_context(
            self.config.task_id,
            joined.round,
            self.key.public_key,
            proving.commitment,
            proving.beacon,
        )
        statement = Statement(proving.commitment, batch, context, count)
        request = ProofRequest(
            joined.round,
            self.backend,
            statement,
            opening,
            self.config.limits,
            self.task.deadlines.prove,
        )
        try:
            with timed(self.journal, joined.round, "prove"):
                proof = await self.make_proof(request, self.progress)
        except ProvingFailed as failure:
            return on.Declined(joined.round, str(failure))
        return on.Proved(
            joined.round, count, self.blocks.offer(self.proof_object(statement, proof))
        )

    async def contribute(self, submitted: Submitted, verdicts: Cid) -> on.Event:
        """Makes our model part of the sum, if we were accepted and our owner allows it."""
        joined = submitted.joined
        judged = decode_object(Verdicts, await self.objects.fetch(verdicts))
        if self.key.id not in judged.accepted:
            return on.GaveUp(joined.round, "our submission was not accepted")
        if self.task.aggregation not in self.config.privacy.aggregation:
            return on.GaveUp(
                joined.round, f"this device does not allow aggregation {self.task.aggregation}"
            )
        if self.task.combination.is_secure:
            roster = await self._roster(joined)
            listed = decode_object(SealedList, await self.objects.fetch(submitted.sealed))
            return self._membership.advertise(submitted, judged, listed, roster)
        opening = encode_opening(self.opening(joined.round))
        sealed = seal(self.task.operator_box_key, opening)
        return on.OpeningSealed(joined.round, self.blocks.offer(sealed))

    async def answer(self, seated: Seated) -> on.Event:
        """Takes the next step in our group."""
        return await self._membership.answer(seated, await self._roster(seated.submitted.joined))

    async def check_record(self, opened: Opened | Seated, cid: Cid) -> on.Event:
        """Checks a proposed record against the announcements we acted on."""
        leader = Leader(self.config, self.task, self.key, self.journal, self.objects, self.backend)
        return await leader.check(opened, cid)

    async def model_after(self, record: Cid) -> bytes:
        """The global model object that a closed round's record names."""
        found = decode_object(Record, await self.objects.fetch(record))
        return await self.objects.fetch(found.model_after)

    def outgoing(self, send: do.Send) -> list[Outgoing]:
        """The signed message, on its way to the aggregator."""
        topic = topics.up(self.key.id, send.kind)
        return [Outgoing(topic, sign(send.message, self.key))]

    async def _check_sealed(self, proving: Proving) -> None:
        joined = proving.joined
        roster = await self._roster(joined)
        sealed = decode_object(SealedList, await self.objects.fetch(proving.sealed)).open(roster)
        ours = sealed.get(self.key.id)
        if ours is None or ours.commitment != proving.commitment:
            raise Rejected(Reason.SEAL_MISMATCH, "our commitment is not in the sealed list")

    async def batch(self, cid: Cid) -> Batch:
        """The revealed batch, checked to be distinct samples of the task's pool."""
        data, pool = await self.objects.fetch(cid), self.task.pool
        indices = [each.sample.index for each in decode_object(Reveal, data).samples]
        if not len(indices) == len(set(indices)) == self.task.batch_size:
            raise Rejected(Reason.DRAW_MISMATCH, "the batch repeats samples or has another size")
        return check_reveal(data, self.task.model.shape, pool.root, pool.size, indices)

    def proof_object(self, statement: Statement, proof: bytes) -> bytes:
        """The object a submission names."""
        return encode(
            ProofObject(
                self.task.proof_system,
                commitment_digest(statement.commitment),
                statement.batch.digest,
                statement.context,
                statement.count,
                proof,
            )
        )

    def opening(self, round_number: Round) -> ModelOpening:
        """The secret opening of this round's commitment."""
        return kept_opening(self.journal, self.task.model.shape, round_number)

    async def _roster(self, joined: Announcement) -> Roster:
        return decode_object(Roster, await self.objects.fetch(joined.roster))

    @property
    def _membership(self) -> Membership:
        return self.membership_type(
            self.config, self.task, self.key, self.journal, self.blocks, self.progress
        )

    @property
    def backend(self) -> Backend:
        """The task's proof system."""
        return self.task.backend(cache_dir(self.config))

    def _limits(self, wall_seconds: float) -> child.Limits:
        return self.config.limits.of(wall_seconds)
