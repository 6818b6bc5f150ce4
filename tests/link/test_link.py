"""What every link does, on the broker in memory and on the embedded one alike.

A further broker is one more subclass of `LinkContract` with its own `make_broker`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from tests.link.rigs import (
    AGGREGATOR,
    ANNA,
    BERT,
    KEEPALIVE_S,
    TASK,
    BrokerRig,
    MemoryRig,
    World,
    embedded_rig,
    eventually,
)

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Outgoing
from zkpot.wire import topics
from zkpot.wire.topics import Kind


class LinkContract:
    """The cases. `make_broker` is the one thing a subclass provides."""

    tells_refusals = True
    """Whether the broker refuses a forbidden subscription, or only never serves it."""

    @staticmethod
    def make_broker(folder: Path) -> BrokerRig:
        raise NotImplementedError

    @pytest.fixture
    def play(self, tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
        @contextlib.asynccontextmanager
        async def world() -> AsyncIterator[World]:
            rig = self.make_broker(tmp_path)
            here = World(rig, tmp_path)
            try:
                yield here
            finally:
                for client in list(here.clients):
                    await here.leave(client, crash=True)
                rig.stop()

        async def run(scenario: Callable[[World], Awaitable[None]]) -> None:
            async with world() as here:
                await scenario(here)

        return lambda scenario: asyncio.run(run(scenario))

    def test_both_directions(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            anna.send(topics.up(ANNA, Kind.COMMITMENT), b"commitment")
            aggregator.send(topics.down(ANNA, Kind.RECEIPT), b"receipt")
            await aggregator.until(b"commitment")
            await anna.until(b"receipt")
            assert aggregator.received[0].topic == topics.up(ANNA, Kind.COMMITMENT)
            await eventually(lambda: anna.journal.unsent() == 0)

        play(scenario)

    def test_order_is_kept_and_the_outbox_emptied(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator = await world.connect(AGGREGATOR)
            anna = await world.connect(ANNA)
            sent = [b"%d" % number for number in range(200)]
            anna.send(topics.up(ANNA, Kind.SUBMISSION), *sent)
            await aggregator.until(*sent)
            assert aggregator.payloads() == sent
            await eventually(lambda: anna.journal.unsent() == 0)

        play(scenario)

    def test_a_transition_wakes_an_idle_link(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(anna.send, topics.up(ANNA, Kind.WANT), b"now")
            await aggregator.until(b"now")

        play(scenario)

    def test_retained_messages_reach_whoever_comes_later(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator = await world.connect(AGGREGATOR)
            aggregator.send(topics.task_round(TASK), b"round 1", b"round 2", retain=True)
            await eventually(lambda: aggregator.journal.unsent() == 0)
            anna = await world.connect(ANNA)
            await anna.until(b"round 2")
            assert anna.payloads() == [b"round 2"]
            assert anna.received[0].retained

        play(scenario)

    def test_a_session_keeps_messages_for_a_client_that_is_away(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            assert await world.leave(anna) == []
            sent = [b"%d" % number for number in range(5)]
            aggregator.send(topics.down(ANNA, Kind.RECEIPT), *sent)
            await eventually(lambda: aggregator.journal.unsent() == 0)
            anna = await world.connect(ANNA)
            await anna.until(*sent)
            assert anna.payloads() == sent

        play(scenario)

    def test_nothing_queued_is_lost_when_the_broker_restarts(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            up = topics.up(ANNA, Kind.SUBMISSION)
            anna.send(up, b"before")
            await aggregator.until(b"before")
            await eventually(lambda: anna.journal.unsent() == 0)
            await asyncio.to_thread(world.rig.stop)
            sent = [b"%d" % number for number in range(40)]
            anna.send(up, *sent[:20])
            await asyncio.sleep(0.3)
            await asyncio.to_thread(world.rig.start)
            await world.ready(aggregator)
            anna.send(up, *sent[20:])
            await world.ready(anna)
            await eventually(lambda: anna.journal.unsent() == 0)
            # The embedded broker forgets the aggregator's session with everything else, so
            # only what was sent after its return can be expected there.
            await aggregator.until(sent[-1])
            arrived = [each for each in aggregator.payloads() if each != b"before"]
            assert arrived == sent[len(sent) - len(arrived) :]

        play(scenario)

    def test_births_and_wills(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator = await world.connect(AGGREGATOR)
            status = topics.status(ANNA)
            births = 0

            def born() -> list[Outgoing]:
                nonlocal births
                births += 1
                return [Outgoing(status, b"online %d" % births, retain=True)]

            will = Outgoing(status, b"offline", retain=True)
            anna = await world.connect(ANNA, will=will, births=born)
            await aggregator.until(b"online 1")
            await world.leave(anna, crash=True)
            await aggregator.until(b"offline")
            aggregator.received.clear()
            anna = await world.connect(ANNA, will=will, births=born)
            await aggregator.until(b"online 2")
            await world.leave(anna)
            await aggregator.until(b"offline")
            await world.leave(aggregator)
            aggregator = await world.connect(AGGREGATOR)
            await aggregator.until(b"offline")

        play(scenario)

    def test_births_come_again_after_a_restart_of_the_broker(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            status = topics.status(ANNA)
            await world.connect(ANNA, births=lambda: [Outgoing(status, b"here", retain=True)])
            await asyncio.to_thread(world.rig.stop)
            await asyncio.to_thread(world.rig.start)
            aggregator = await world.connect(AGGREGATOR)
            await aggregator.until(b"here")

        play(scenario)

    def test_volatile_messages_are_sent_now_or_never(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            block = bytes(range(256)) * 512
            await anna.link.publish_volatile(topics.up(ANNA, Kind.BLOCK), block)
            await aggregator.until(block)
            await asyncio.to_thread(world.rig.stop)
            await asyncio.sleep(0.1)
            await anna.link.publish_volatile(topics.up(ANNA, Kind.BLOCK), b"lost")
            await asyncio.to_thread(world.rig.start)

        play(scenario)

    def test_a_refused_subscription_is_fatal_and_named(self, play: Any) -> None:
        if not self.tells_refusals:
            pytest.skip("this broker grants every subscription and filters at delivery")

        async def scenario(world: World) -> None:
            foreign = topics.device_subscriptions(BERT, TASK)[0]
            with pytest.raises(Fatal, match=foreign.replace("+", r"\+")) as caught:
                await world.connect(ANNA, [*topics.device_subscriptions(ANNA, TASK), foreign])
            assert caught.value.exit_code is ExitCode.CREDENTIALS

        play(scenario)

    @pytest.mark.parametrize("wildcard", ["#", "zkpot/#", "zkpot/1/device/+/down/+"])
    def test_wildcards_do_not_open_the_topics_of_others(self, play: Any, wildcard: str) -> None:
        async def scenario(world: World) -> None:
            if self.tells_refusals:
                with pytest.raises(Fatal, match="subscription"):
                    await world.connect(ANNA, [wildcard])
                return
            aggregator = await world.connect(AGGREGATOR)
            await world.connect(BERT)
            anna = await world.connect(ANNA, [wildcard])
            aggregator.send(topics.down(BERT, Kind.RECEIPT), b"his")
            aggregator.send(topics.down(ANNA, Kind.RECEIPT), b"hers")
            await anna.until(b"hers")
            assert anna.payloads() == [b"hers"]

        play(scenario)

    def test_a_device_cannot_write_topics_of_others(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator = await world.connect(AGGREGATOR)
            anna, bert = await world.connect(ANNA), await world.connect(BERT)
            for forbidden in (
                topics.up(ANNA, Kind.COMMITMENT),
                topics.status(ANNA),
                topics.down(ANNA, Kind.RECEIPT),
                topics.task_round(TASK),
            ):
                bert.send(forbidden, b"forged", retain=True)
            bert.send(topics.up(BERT, Kind.COMMITMENT), b"own")
            await aggregator.until(b"own")
            aggregator.send(topics.down(ANNA, Kind.RECEIPT), b"receipt")
            await anna.until(b"receipt")
            assert b"forged" not in aggregator.payloads() + anna.payloads() + bert.payloads()

        play(scenario)

    def test_a_device_does_not_see_what_is_retained_for_others(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator = await world.connect(AGGREGATOR)
            anna = await world.connect(ANNA)
            anna.send(topics.capabilities(ANNA), b"hers", retain=True)
            await aggregator.until(b"hers")
            bert = await world.connect(BERT)
            aggregator.send(topics.down(BERT, Kind.RECEIPT), b"his")
            await bert.until(b"his")
            assert bert.payloads() == [b"his"]

        play(scenario)

    def test_a_message_beyond_the_packet_limit_is_fatal_and_names_the_setting(
        self, play: Any
    ) -> None:
        async def scenario(world: World) -> None:
            anna = await world.connect(ANNA, packet_limit_bytes=1000)
            with pytest.raises(Fatal, match="packet_limit_bytes = 1000"):
                await anna.link.publish_volatile(topics.up(ANNA, Kind.BLOCK), bytes(1000))
            anna.send(topics.up(ANNA, Kind.OPENING), bytes(1000))
            with pytest.raises(Fatal, match="packet_limit_bytes = 1000") as caught:
                await asyncio.wait_for(anna.running, 60)
            assert caught.value.exit_code is ExitCode.CONFIG
            assert anna.journal.unsent() == 1

        play(scenario)

    def test_stop_sends_what_it_can_and_tells_what_it_could_not(
        self, play: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("zkpot.link.mqtt.FAREWELL_S", 60.0)

        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            topic = topics.up(ANNA, Kind.COMMITMENT)
            sent = [b"%d" % number for number in range(50)]
            anna.send(topic, *sent)
            assert await world.leave(anna) == []
            await aggregator.until(*sent)
            await asyncio.to_thread(world.rig.stop)
            bert = await world.connect(BERT, wait=False)
            bert.send(topics.up(BERT, Kind.COMMITMENT), b"never")
            assert await world.leave(bert) == [topics.up(BERT, Kind.COMMITMENT)]
            await asyncio.to_thread(world.rig.start)
            bert = await world.connect(BERT)
            await eventually(lambda: bert.journal.unsent() == 0)

        play(scenario)

    def test_a_slow_service_does_not_cost_the_link(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            births: list[None] = []

            def born() -> list[Outgoing]:
                births.append(None)
                return []

            aggregator = await world.connect(AGGREGATOR)
            anna = await world.connect(ANNA, births=born, pause_s=2 * KEEPALIVE_S)
            aggregator.send(topics.down(ANNA, Kind.RECEIPT), b"1", b"2")
            await anna.until(b"2")
            anna.send(topics.up(ANNA, Kind.COMMITMENT), b"still here")
            await aggregator.until(b"still here")
            assert len(births) == 1

        play(scenario)

    def test_run_can_be_cancelled_before_the_broker_is_there(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            await asyncio.to_thread(world.rig.stop)
            anna = await world.connect(ANNA, wait=False)
            await asyncio.sleep(0.4)
            await world.leave(anna, crash=True)
            await asyncio.to_thread(world.rig.start)

        play(scenario)


class TestMemoryLink(LinkContract):
    @staticmethod
    def make_broker(folder: Path) -> BrokerRig:  # noqa: ARG004
        return MemoryRig()


@pytest.mark.broker
@pytest.mark.enable_socket
class TestEmbeddedLink(LinkContract):
    @staticmethod
    def make_broker(folder: Path) -> BrokerRig:
        return embedded_rig(folder)

    @pytest.mark.parametrize("answer", ["_on_subscribe", "_on_publish"])
    @pytest.mark.parametrize("later", range(5))
    def test_a_cancellation_is_not_lost_to_an_answer(
        self, play: Any, monkeypatch: pytest.MonkeyPatch, answer: str, later: int
    ) -> None:
        """It comes `later` steps of the loop after the broker's answer, once."""
        take = getattr(aiomqtt.Client, answer)

        async def scenario(world: World) -> None:
            anna = await world.connect(ANNA, wait=False)
            anna.send(topics.up(ANNA, Kind.COMMITMENT), b"1")
            loop = asyncio.get_running_loop()

            def cancel(steps: int) -> None:
                if steps:
                    loop.call_soon(cancel, steps - 1)
                else:
                    anna.running.cancel()

            def answered(*arguments: Any) -> None:
                take(*arguments)
                cancel(later)

            monkeypatch.setattr(aiomqtt.Client, answer, answered)
            done, _ = await asyncio.wait({anna.running}, timeout=60)
            assert done
            assert anna.running.cancelled()

        play(scenario)
