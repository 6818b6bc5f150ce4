"""What the aggregator does in a round besides deciding: batch, proofs, the sum of open models.

Each function may be carried out again after a restart: content is named by what it is.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.batch import Batch, Reveal, batch_of, draw
from zkpot.cid import Cid, join_object, split_object
from zkpot.errors import Failure, Reason, Rejected, Transient
from zkpot.ids import Beacon, DeviceId, Round
from zkpot.link.blocks import BlockExchange
from zkpot.model import count_correct
from zkpot.opening import decode_opening, max_sealed_bytes
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening
from zkpot.record import SealedList, Verdicts, decode_object
from zkpot.timing import timed
from zkpot.verify import MAX_PROOF_BYTES, ProofTerms, RoundTerms
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import Commitment, Opening, Submission
from zkpot_aggregator import verifying
from zkpot_aggregator.audit.rounds import drawn_samples
from zkpot_aggregator.chain_work import ChainWorker, round_view
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at

_logger = logging.getLogger(__name__)


@dataclass
class Spent:
    """Which samples the rounds up to `through` have drawn."""

    through: int = 0
    indices: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Worker(ChainWorker):
    """The aggregator's tools for one task."""

    intake: Intake
    exchange: BlockExchange
    verifier: verifying.Verifier
    cache_dir: Path
    spent: Spent = field(default_factory=Spent)

    # --- batch ------------------------------------------------------------------------------

    async def reveal(self, terms: RoundTerms, model: Cid, beacon: Beacon) -> on.Event:
        """Draws from what is left of the pool, reveals it, and counts the round's model on it."""
        task = terms.task
        spent = () if task.pool.reuse else await self._spent_before(terms.round)
        try:
            indices = draw(beacon, task.pool.size, task.batch_size, spent)
        except Rejected as rejection:
            return on.CannotGoOn(Failure.POOL_EXHAUSTED, rejection.detail)
        cid = put_object(self.content, self.handle.publisher.reveal(indices))
        batch = batch_of([self.handle.publisher.pool[index] for index in indices])
        theta = self.model(model).theta
        count = count_correct(task.model.shape, theta, batch.inputs, batch.labels)
        return on.Revealed(cid, count)

    async def _spent_before(self, number: Round) -> set[int]:
        task, spent = self.handle.task, self.spent
        for earlier in map(Round, range(spent.through + 1, number)):
            view = await self.chain.read(partial(round_view, self.handle.id, earlier))
            spent.indices.update(drawn_samples(task, view, spent.indices))
            spent.through = earlier
        return spent.indices

    def model(self, cid: Cid) -> GlobalModel:
        """A global model from the content store."""
        return decode_global_model(self.handle.task.model.shape, get_object(self.content, cid))

    # --- proofs -----------------------------------------------------------------------------

    async def check_commitment(self, terms: RoundTerms, envelope: bytes) -> on.Event:
        """Fetches the commit-time proof from its device and judges the commitment."""
        opened = open_as(Commitment, envelope, terms.roster.public_keys)
        wanted = opened.message.wellformed
        deadline = terms.task.deadlines.commit

        async def judge(objects: dict[Cid, bytes]) -> verifying.Verdict:
            with timed(self.journal, terms.round, "check-commitment"):
                return await self.verifier.run(
                    verifying.judge_commitment, self.backend, terms, envelope, objects
                )

        objects = () if wanted is None else (wanted,)
        reason, detail = await self._judge(objects, opened.signer, deadline, judge)
        return on.CommitmentChecked(envelope, reason, detail)

    async def check_submission(self, terms: ProofTerms, envelope: bytes) -> on.Event:
        """Fetches the proof from its device and runs the pipeline."""
        opened = open_as(Submission, envelope, terms.round.roster.public_keys)
        deadline = terms.round.task.deadlines.prove

        async def judge(objects: dict[Cid, bytes]) -> verifying.Verdict:
            with timed(self.journal, terms.round.round, "verify"):
                return await self.verifier.run(
                    verifying.judge_submission, self.backend, terms, envelope, objects
                )

        proof = opened.message.proof
        reason, detail = await self._judge((proof,), opened.signer, deadline, judge)
        return on.SubmissionChecked(envelope, reason, detail)

    async def check_opening(
        self, commitment: bytes, terms: RoundTerms, envelope: bytes
    ) -> on.Event:
        """Fetches a sealed opening, opens it, and compares it with the commitment."""
        opened = open_as(Opening, envelope, terms.roster.public_keys)
        deadline = terms.task.deadlines.aggregate
        try:
            await self.exchange.fetch(
                opened.message.sealed,
                opened.signer,
                deadline_s=deadline,
                max_bytes=max_sealed_bytes(terms.task.model.shape),
            )
            opening = self._opening(opened.message.sealed)
            with timed(self.journal, terms.round, "check-opening"):
                reason, detail = await self.verifier.run(
                    verifying.judge_opening, self.backend, commitment, opening
                )
        except Transient as error:
            reason, detail = Reason.OBJECT_UNAVAILABLE, str(error)
        except Rejected as rejection:
            reason, detail = rejection.reason, rejection.detail
        return on.OpeningChecked(envelope, reason, detail)

    async def sum(self, terms: RoundTerms, state: at.Summing) -> on.Event:
        """Combines the accepted models, and stores the new one with its count on the batch."""
        sealed = self.sealed(terms, state.sealed.cid)
        accepted = Verdicts(state.verdicts).accepted
        devices = [signed.device for signed in state.openings]
        weights = tuple(terms.task.weight(accepted[device]) for device in devices)
        openings = tuple(
            self._opening(
                open_as(Opening, signed.envelope, terms.roster.public_keys).message.sealed
            )
            for signed in state.openings
        )
        combination = terms.task.combination
        with timed(self.journal, terms.round, "sum"):
            if combination.is_sum:
                commitments = tuple(sealed[device].commitment for device in devices)
                total = await self.verifier.run(
                    verifying.sum_openings, self.backend, commitments, openings, weights
                )
                model, blinding = GlobalModel(total.theta, sum(weights)), total.blinding
            else:
                reference = self.model(state.start.model).theta
                model = await self.verifier.run(
                    verifying.apply_rule, combination, reference, openings, weights
                )
                blinding = b""
        return self._summed(terms, state.drawn, model, blinding)

    def _summed(
        self, terms: RoundTerms, drawn: at.DrawnBatch, model: GlobalModel, blinding: bytes
    ) -> on.Summed:
        batch = self.batch(drawn.batch)
        count = count_correct(terms.task.model.shape, model.theta, batch.inputs, batch.labels)
        return on.Summed(put_object(self.content, model.encode()), blinding, count)

    def sealed(self, terms: RoundTerms, cid: Cid) -> dict[DeviceId, Commitment]:
        """The sealed commitments of a round."""
        return decode_object(SealedList, get_object(self.content, cid)).open(terms.roster)

    def batch(self, cid: Cid) -> Batch:
        """A revealed batch of our own."""
        samples = decode_object(Reveal, get_object(self.content, cid)).samples
        return batch_of([revealed.sample for revealed in samples])

    @property
    def backend(self) -> Backend:
        """The task's proof system."""
        return self.handle.task.backend(self.cache_dir)

    def _opening(self, sealed: Cid) -> ModelOpening:
        shape = self.handle.task.model.shape
        return decode_opening(shape, self.key.open(join_object(sealed, self.intake.get)))

    async def _judge(
        self,
        wanted: tuple[Cid, ...],
        device: DeviceId,
        deadline_s: float,
        judge: Callable[[dict[Cid, bytes]], Awaitable[verifying.Verdict]],
    ) -> verifying.Verdict:
        """Fetches what a message names, judges it, and keeps it as evidence either way."""
        try:
            objects = {
                cid: await self.exchange.fetch(
                    cid, device, deadline_s=deadline_s, max_bytes=MAX_PROOF_BYTES
                )
                for cid in wanted
            }
        except (Rejected, Transient) as error:
            return Reason.OBJECT_UNAVAILABLE, str(error)
        for cid, data in objects.items():
            # Pins follow these names later: the store must have the object under the same one.
            if split_object(data)[0] != cid:
                return Reason.OBJECT_UNAVAILABLE, "an object in other blocks than its bytes make"
        try:
            verdict = await judge(objects)
        except Rejected as rejection:
            verdict = rejection.reason, rejection.detail
        for data in objects.values():
            put_object(self.content, data)
        return verdict
