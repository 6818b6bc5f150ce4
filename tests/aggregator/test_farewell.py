"""Serving on after the last round, until the devices that are there have its model."""

import asyncio
import logging

import pytest
from tests.aggregator.round_kit import DEVICES

from zkpot.cid import raw_cid
from zkpot.ids import Digest, Round, TaskId, digest
from zkpot.wire.messages import has_model
from zkpot_aggregator.farewell import Farewell
from zkpot_aggregator.round import states as at

ANNA, BERT = (key.id for key in DEVICES[:2])
MODEL, OTHER = raw_cid(b"model"), raw_cid(b"other")
START = at.Start(TaskId(digest("test", b"task")), Round(1), digest("test", b"p"), OTHER, OTHER)
FOR_EVER = 3600.0


def left_in(signed: Digest | None) -> Farewell:
    farewell = Farewell()
    farewell.entered(at.Ended(START, signed, MODEL))
    return farewell


def test_it_waits_for_every_device_to_have_this_model() -> None:
    farewell = left_in(digest("test", b"record"))

    async def scenario() -> None:
        leaving = asyncio.ensure_future(farewell.see_off({ANNA, BERT}, FOR_EVER))
        farewell.heard(ANNA, has_model(MODEL))
        farewell.heard(BERT, has_model(OTHER))
        farewell.heard(BERT, "idle")
        await asyncio.sleep(0.3)
        assert not leaving.done()
        farewell.heard(BERT, has_model(MODEL))
        await leaving

    asyncio.run(scenario())


def test_a_device_that_leaves_is_not_waited_for() -> None:
    farewell, devices = left_in(digest("test", b"record")), {ANNA}

    async def scenario() -> None:
        leaving = asyncio.ensure_future(farewell.see_off(devices, FOR_EVER))
        await asyncio.sleep(0)
        devices.clear()
        await leaving

    asyncio.run(scenario())


def test_nobody_is_waited_for_after_a_failed_round_or_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asyncio.run(left_in(None).see_off({ANNA}, FOR_EVER))
    asyncio.run(Farewell().see_off({ANNA}, FOR_EVER))
    with caplog.at_level(logging.WARNING):
        asyncio.run(left_in(digest("test", b"record")).see_off({ANNA}, 0.2))
    assert "1 devices have not said" in caplog.text


def test_a_new_round_forgets_who_had_the_last_ones_model() -> None:
    farewell = left_in(digest("test", b"record"))
    farewell.heard(ANNA, has_model(MODEL))
    farewell.entered(at.Opening(START))
    farewell.entered(at.Ended(START, digest("test", b"next"), MODEL))

    async def scenario() -> None:
        leaving = asyncio.ensure_future(farewell.see_off({ANNA}, FOR_EVER))
        await asyncio.sleep(0.2)
        assert not leaving.done()
        leaving.cancel()

    asyncio.run(scenario())
