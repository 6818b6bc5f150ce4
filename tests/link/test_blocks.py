"""Objects travel between two exchanges over links that may lose messages."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.link.rigs import eventually
from tests.link.unlinked import Unlinked

from zkpot.cid import BLOCK_BYTES, Cid, split_object
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import DeviceId
from zkpot.keys import KeyPair
from zkpot.link.blocks import MAX_WANTED_BY_PEER, BlockExchange
from zkpot.wire import topics
from zkpot.wire.envelope import open_envelope
from zkpot.wire.messages import Block, Want

AGGREGATOR, ANNA, BERT = (KeyPair.from_seed(bytes([number]) * 32) for number in range(3))
PUBLIC_KEYS = {pair.id: pair.public_key for pair in (AGGREGATOR, ANNA, BERT)}
DATA = random.Random(1).randbytes(20 * BLOCK_BYTES + 7)
ROOT, BLOCKS = split_object(DATA)


class Store:
    def __init__(self, blocks: dict[Cid, bytes] | None = None) -> None:
        self.blocks = dict(blocks or {})

    def get(self, cid: Cid) -> bytes:
        if cid not in self.blocks:
            raise Rejected(Reason.NOT_FOUND)
        return self.blocks[cid]

    def put(self, cid: Cid, block: bytes) -> None:
        self.blocks[cid] = block


@dataclass
class Wire(Unlinked):
    """A link whose `publish_volatile` hands each envelope on, as often as `copies` says."""

    deliver: Callable[[str, bytes], None]
    copies: Callable[[], int] = lambda: 1
    largest: int = 0

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        self.largest = max(self.largest, len(payload))
        for _ in range(self.copies()):
            self.deliver(topic, payload)
        await asyncio.sleep(0)


@dataclass
class Side:
    exchange: BlockExchange
    store: Store
    wire: Wire


def _up(own: DeviceId) -> Callable[[DeviceId, topics.Kind], str]:
    return lambda _peer, kind: topics.up(own, kind)


@asynccontextmanager
async def sides(
    *,
    aggregator_blocks: dict[Cid, bytes] | None = None,
    copies: Callable[[], int] = lambda: 1,
    window: int = 4,
    may_serve: Callable[[DeviceId, Cid], bool] = lambda _peer, _cid: True,
    timeout_s: float = 0.05,
) -> AsyncIterator[dict[DeviceId, Side]]:
    """The aggregator and two devices, each serving what it has."""
    by_id: dict[DeviceId, Side] = {}

    def deliver(topic: str, payload: bytes) -> None:
        parsed = topics.parse_device_topic(topic)
        receiver = AGGREGATOR.id if parsed.channel.startswith("up/") else parsed.device
        opened = open_envelope(payload, PUBLIC_KEYS)
        assert isinstance(opened.message, Want | Block)
        by_id[receiver].exchange.receive(opened.signer, opened.message)

    for pair in (AGGREGATOR, ANNA, BERT):
        store = Store(aggregator_blocks if pair is AGGREGATOR else None)
        wire = Wire(deliver, copies)
        exchange = BlockExchange(
            wire,
            key=pair,
            store=store,
            address=topics.down if pair is AGGREGATOR else _up(pair.id),
            may_serve=may_serve,
            window=window,
            timeout_s=timeout_s,
        )
        by_id[pair.id] = Side(exchange, store, wire)
    serving = [asyncio.ensure_future(side.exchange.run()) for side in by_id.values()]
    try:
        yield by_id
    finally:
        for task in serving:
            task.cancel()
        outcomes = await asyncio.gather(*serving, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in outcomes)


def test_devices_fetch_at_once_and_in_both_directions() -> None:
    async def scenario() -> None:
        async with sides(aggregator_blocks=BLOCKS) as side:
            own, own_blocks = split_object(b"a proof of Anna's")
            side[ANNA.id].store.blocks.update(own_blocks)
            steps: list[tuple[int, int]] = []
            first, second, third = await asyncio.gather(
                side[ANNA.id].exchange.fetch(
                    ROOT, AGGREGATOR.id, deadline_s=60, progress=lambda *now: steps.append(now)
                ),
                side[BERT.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=60),
                side[AGGREGATOR.id].exchange.fetch(own, ANNA.id, deadline_s=60),
            )
            assert first == second == DATA
            assert third == b"a proof of Anna's"
            assert steps[-1][1] == len(BLOCKS)
            assert side[AGGREGATOR.id].wire.largest < 129 * 1024

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_repetition_cost_time_only(seed: int) -> None:
    source = random.Random(seed)

    async def scenario() -> None:
        copies = lambda: source.choice([0, 0, 1, 2])  # noqa: E731
        async with sides(aggregator_blocks=BLOCKS, copies=copies) as side:
            data = await side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=60)
            assert data == DATA

    asyncio.run(scenario())


def test_a_fetch_goes_on_where_an_earlier_one_ended() -> None:
    async def scenario() -> None:
        half = dict(list(BLOCKS.items())[10:])
        async with sides(aggregator_blocks=half) as side:
            with pytest.raises(Rejected) as caught:
                await side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=5)
            assert caught.value.reason is Reason.OBJECT_UNAVAILABLE
            assert len(side[ANNA.id].store.blocks) == len(half)
            side[AGGREGATOR.id].store.blocks = {
                cid: data for cid, data in BLOCKS.items() if cid not in half
            }
            data = await side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=60)
            assert data == DATA

    asyncio.run(scenario())


def test_a_silent_peer_is_transient_and_a_reconnect_asks_at_once() -> None:
    async def scenario() -> None:
        here = True
        async with sides(aggregator_blocks=BLOCKS, copies=lambda: int(here), timeout_s=60) as side:
            here = False
            with pytest.raises(Transient, match=r"0 of \? blocks"):
                await side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=0.2)
            fetching = asyncio.ensure_future(
                side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=120)
            )
            await asyncio.sleep(0.5)
            here = True
            side[ANNA.id].exchange.reconnected()
            assert await asyncio.wait_for(fetching, 50) == DATA

    asyncio.run(scenario())


def test_a_corrupt_block_in_the_local_store_is_fetched_anew() -> None:
    async def scenario() -> None:
        async with sides(aggregator_blocks=BLOCKS) as side:
            leaf = next(cid for cid in BLOCKS if cid != ROOT)
            side[ANNA.id].store.blocks[leaf] = b"rotten"
            assert await side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=60) == DATA

    asyncio.run(scenario())


def test_only_what_may_be_served_is_served() -> None:
    async def scenario() -> None:
        async with sides(
            aggregator_blocks=BLOCKS, may_serve=lambda peer, _cid: peer == ANNA.id
        ) as side:
            assert await side[ANNA.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=60) == DATA
            with pytest.raises(Rejected):
                await side[BERT.id].exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=2)

    asyncio.run(scenario())


def test_blocks_of_anybody_but_the_peer_are_ignored() -> None:
    async def scenario() -> None:
        async with sides() as side:
            exchange = side[ANNA.id].exchange
            fetching = asyncio.ensure_future(exchange.fetch(ROOT, AGGREGATOR.id, deadline_s=2))
            await asyncio.sleep(0.05)
            exchange.receive(BERT.id, Block(ROOT, BLOCKS[ROOT]))
            with pytest.raises(Rejected):
                await fetching
            assert side[ANNA.id].store.blocks == {}

    asyncio.run(scenario())


def test_what_a_peer_can_have_queued_is_bounded() -> None:
    async def scenario() -> None:
        sent: list[bytes] = []
        wire = Wire(lambda _topic, payload: sent.append(payload))
        exchange = BlockExchange(wire, key=AGGREGATOR, store=Store(), address=topics.down)
        for number in range(100):
            cids = [split_object(b"%d/%d" % (number, each))[0] for each in range(64)]
            exchange.receive(ANNA.id, Want(tuple(cids)))
        exchange.receive(BERT.id, Want((ROOT,)))
        exchange.receive(BERT.id, Want(()))
        serving = asyncio.ensure_future(exchange.run())
        await eventually(lambda: len(sent) > MAX_WANTED_BY_PEER)
        await asyncio.sleep(0.2)
        serving.cancel()
        assert len(sent) == MAX_WANTED_BY_PEER + 1
        # Bert's one block does not wait for all of Anna's.
        signers = [open_envelope(each, PUBLIC_KEYS).message for each in sent[:2]]
        assert any(isinstance(each, Block) and each.cid == ROOT for each in signers)

    asyncio.run(scenario())
