"""What the aggregator tells the chain in a round, and hears from it.

Each function may be carried out again after a restart: the chain is asked before it is told.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial

from zkpot.cid import Cid, cid_digest, object_cid_from_digest, split_object
from zkpot.errors import Failure, Rejected
from zkpot.ids import Digest, Round, TaskId
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.record import Record, SignedRecord, decode_object
from zkpot.timing import timed
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import RecordSignature
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.content.retention import PrunedStore, prune
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
from zkpot_aggregator.ledger.views import Phase, RoundView
from zkpot_aggregator.patience import patiently
from zkpot_aggregator.round import events as on
from zkpot_aggregator.task_setup import TaskHandle

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the chain is asked what the validators say."""


@dataclass(frozen=True)
class ChainWorker:
    """The aggregator's tools for what a task's rounds leave on chain."""

    handle: TaskHandle
    key: KeyPair
    journal: Journal
    chain: Chain
    content: PrunedStore
    keep_rounds: int | None = field(default=None, kw_only=True)

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
        with timed(self.journal, terms.round, "pin"):
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
            view = await self.chain.read(partial(round_view, terms.task_id, terms.round))
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


def round_view(task: TaskId, number: Round, ledger: Ledger) -> RoundView:
    """A round as the chain shows it, for `Chain.read`."""
    return ledger.round(task, number)


def _wait_for_block(height: int, timeout_s: float, ledger: Ledger) -> None:
    ledger.wait_for_block(height, timeout_s)
