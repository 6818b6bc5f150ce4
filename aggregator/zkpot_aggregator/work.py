"""What the aggregator does in a round besides deciding: chain, content, proofs, the sum.

Each function may be carried out again after a restart: content is named by what it is, and
the chain is asked before it is told.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.batch import Batch, Reveal, batch_of, draw
from zkpot.cid import Cid, cid_digest, join_object, object_cid_from_digest, split_object
from zkpot.errors import Failure, Reason, Rejected, Transient
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.link.blocks import BlockExchange
from zkpot.model import count_correct
from zkpot.opening import decode_opening
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening
from zkpot.record import Record, SealedList, SignedRecord, Verdicts, decode_object
from zkpot.verify import ProofTerms, RoundTerms
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_as, sign
from zkpot.wire.messages import Commitment, Opening, RecordSignature, Submission
from zkpot_aggregator import verifying
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.content.retention import PrunedStore, prune
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.ledger.base import Ledger, LedgerReverted
from zkpot_aggregator.ledger.beacon import BeaconReplaced
from zkpot_aggregator.ledger.calls import (
    CloseRound,
    DrawBeacon,
    FailRound,
    OpenRound,
    SealCommitments,
    device_word,
)
from zkpot_aggregator.ledger.views import ZERO, Phase, RoundView
from zkpot_aggregator.patience import patiently
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.task_setup import TaskHandle

_logger = logging.getLogger(__name__)

TIMING = "timing"
"""Journal events: when a step of a round began and ended."""


POLL_SECONDS = 1.0
"""How often the chain is asked what the validators say."""


@dataclass
class Spent:
    """Which samples the rounds up to `through` have drawn."""

    through: int = 0
    indices: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Worker:
    """The aggregator's tools for one task."""

    handle: TaskHandle
    key: KeyPair
    journal: Journal
    chain: Chain
    content: PrunedStore
    intake: Intake
    exchange: BlockExchange
    verifier: verifying.Verifier
    cache_dir: Path
    spent: Spent = field(default_factory=Spent)
    keep_rounds: int | None = None

    # --- chain ------------------------------------------------------------------------------

    async def open_round(self, terms: RoundTerms) -> on.Event:
        """`open_round`, on top of the head; validators may have moved that back just now."""
        call = OpenRound(terms.task_id, terms.round, terms.parent, terms.roster.root)
        try:
            await self.chain.submit(call)
        except LedgerReverted as reverted:
            if reverted.word != "parent" or not terms.task.validators:
                raise
            return on.HeadMoved(*await self.head())
        return on.OpenedOnChain()

    async def head(self) -> tuple[Digest, Cid]:
        """What the next round builds on: the chain's head, and the model it leads to."""
        head = Digest((await self.chain.read(lambda ledger: ledger.task(self.handle.id))).head)
        if head == Digest(self.handle.id):
            return head, self.handle.task.genesis
        signed = decode_object(SignedRecord, get_object(self.content, object_cid_from_digest(head)))
        record = decode_object(Record, get_object(self.content, signed.record))
        return head, record.model_after

    async def seal(self, terms: RoundTerms, root: Digest, count: int) -> on.Event:
        """`seal_commitments`, which fixes the block that decides the beacon."""
        await self.chain.submit(SealCommitments(terms.task_id, terms.round, root, count))
        view = await self.chain.read(lambda ledger: ledger.round(terms.task_id, terms.round))
        return on.SealedOnChain(view.draw_height)

    async def draw(self, terms: RoundTerms, draw_height: int) -> on.Event:
        """Waits for the block, then `draw_beacon`."""
        limit = terms.task.deadlines.chain
        while True:
            await self.chain.read(partial(_wait_for_block, draw_height + 1, limit))
            try:
                await self.chain.submit(DrawBeacon(terms.task_id, terms.round))
                break
            except BeaconReplaced as replaced:
                return on.CannotGoOn(Failure.DRAW_MISSED, str(replaced))
            except LedgerReverted as reverted:
                if reverted.word == "expired":
                    return on.CannotGoOn(Failure.DRAW_MISSED, "the draw block is too far back")
                view = await self.chain.read(
                    lambda ledger: ledger.round(terms.task_id, terms.round)
                )
                if reverted.word != "early" or view.draw_height <= draw_height:
                    raise
                # A reorganisation moved the seal, and its draw height, to a later block.
                draw_height = view.draw_height
        view = await self.chain.read(lambda ledger: ledger.round(terms.task_id, terms.round))
        return on.Drawn(view.beacon)

    async def close(
        self, terms: RoundTerms, record: Record, leader_signature: bytes, total: int
    ) -> on.Event:
        """Signs, pins everything the record names, then `close_round`."""
        record_cid = split_object(encode(record), record.references)[0]
        signature = sign(RecordSignature(terms.task_id, terms.round, record_cid), self.key)
        signed = SignedRecord(record_cid, leader_signature, signature)
        cid = put_object(self.content, encode(signed), [record_cid])
        with self._timed(terms.round, "pin"):
            await patiently(lambda: self.content.pin(cid), "the pin of the record")
        digest = Digest(cid_digest(cid))
        leader = device_word(record.leader)
        try:
            await self.chain.submit(
                CloseRound(terms.task_id, terms.round, digest, leader, record.count, total)
            )
        except BeaconReplaced as replaced:
            self.content.unpin(cid)
            return on.CannotGoOn(Failure.DRAW_MISSED, str(replaced))
        if self.keep_rounds is not None:
            await self._prune(self.keep_rounds, terms.round)
        return on.ClosedOnChain(digest)

    async def await_validators(self, terms: RoundTerms) -> on.Event:
        """Watches the closed round until it is final or rejected."""
        while True:
            view = await self.chain.read(partial(_round_view, terms.task_id, terms.round))
            if view.phase in (Phase.FINAL, Phase.REJECTED):
                return on.Settled(view.phase is Phase.FINAL)
            await asyncio.sleep(POLL_SECONDS)

    async def _prune(self, keep_rounds: int, newest: Round) -> None:
        """Drops the records of rounds that nobody is promised any more."""
        try:
            await self.chain.read(
                lambda ledger: prune(ledger, self.content, self.handle.id, newest, keep_rounds)
            )
        except Rejected as rejection:
            _logger.warning("old rounds stay pinned: %s", rejection)

    async def fail(self, terms: RoundTerms, failure: Failure) -> on.Event:
        """`fail_round`."""
        await self.chain.submit(FailRound(terms.task_id, terms.round, int(failure)))
        return on.FailedOnChain()

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
            view = await self.chain.read(partial(_round_view, self.handle.id, earlier))
            if view.beacon != ZERO and view.fail_reason != Failure.POOL_EXHAUSTED:
                spent.indices.update(
                    draw(view.beacon, task.pool.size, task.batch_size, spent.indices)
                )
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
            with self._timed(terms.round, "check-commitment"):
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
            with self._timed(terms.round.round, "verify"):
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
            await self.exchange.fetch(opened.message.sealed, opened.signer, deadline_s=deadline)
            opening = self._opening(opened.message.sealed)
            with self._timed(terms.round, "check-opening"):
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
        with self._timed(terms.round, "sum"):
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
                cid: await self.exchange.fetch(cid, device, deadline_s=deadline_s) for cid in wanted
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

    @contextmanager
    def _timed(self, round_number: Round, what: str) -> Iterator[None]:
        """Notes when a step began and ended, for reports."""
        began = time.time()
        yield
        span = json.dumps([began, time.time()])
        self.journal.note(TIMING, f"{round_number}/{what}/{began:.6f}", span.encode())


def _round_view(task: TaskId, number: Round, ledger: Ledger) -> RoundView:
    return ledger.round(task, number)


def _wait_for_block(height: int, timeout_s: float, ledger: Ledger) -> None:
    ledger.wait_for_block(height, timeout_s)
