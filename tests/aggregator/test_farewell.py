"""Serving on after the last round, until the devices that are there have its model."""

import asyncio
import logging

import pytest
from tests.aggregator.round_kit import DEVICES

from zkpot.cid import Cid, split_object
from zkpot.ids import Digest, Round, TaskId, digest
from zkpot_aggregator.content.base import put_object
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.farewell import Farewell
from zkpot_aggregator.round import states as at

ANNA, BERT = (key.id for key in DEVICES[:2])
MODEL = bytes(300_000)
BLOCKS = list(split_object(MODEL)[1])
FOR_EVER = 3600.0


def left_in(signed: Digest | None) -> tuple[Farewell, Cid]:
    content = MemoryStore()
    model = put_object(content, MODEL)
    farewell = Farewell(content)
    start = at.Start(TaskId(digest("test", b"task")), Round(1), digest("test", b"p"), model, model)
    farewell.entered(at.Ended(start, signed, model))
    return farewell, model


def test_it_waits_for_every_block_and_every_device() -> None:
    farewell, _ = left_in(digest("test", b"record"))
    assert len(BLOCKS) > 2
    devices = {ANNA, BERT}

    async def scenario() -> None:
        leaving = asyncio.ensure_future(farewell.see_off(devices, FOR_EVER))
        for block in BLOCKS:
            assert farewell.may_serve(ANNA, block)
        for block in BLOCKS[1:]:
            assert farewell.may_serve(BERT, block)
        await asyncio.sleep(0.3)
        assert not leaving.done()
        assert farewell.may_serve(BERT, BLOCKS[0])
        await leaving

    asyncio.run(scenario())


def test_a_device_that_leaves_is_not_waited_for() -> None:
    farewell, _ = left_in(digest("test", b"record"))
    devices = {ANNA}

    async def scenario() -> None:
        leaving = asyncio.ensure_future(farewell.see_off(devices, FOR_EVER))
        await asyncio.sleep(0)
        devices.clear()
        await leaving

    asyncio.run(scenario())


def test_nobody_is_waited_for_after_a_failed_round_or_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed, _ = left_in(None)
    asyncio.run(failed.see_off({ANNA}, FOR_EVER))
    closed, _ = left_in(digest("test", b"record"))
    with caplog.at_level(logging.WARNING):
        asyncio.run(closed.see_off({ANNA}, 0.2))
    assert "1 devices have not fetched the final model" in caplog.text


def test_what_is_not_stored_is_not_served() -> None:
    farewell, model = left_in(None)
    assert farewell.may_serve(ANNA, model)
    assert not farewell.may_serve(ANNA, split_object(b"another")[0])
