"""What every link does, on the broker in memory and on the embedded one alike.

A further broker is one more subclass of `LinkContract` with its own `make_broker`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import DeviceId, TaskId, device_text
from zkpot.journal import Journal, Outgoing
from zkpot.link import BrokerSettings, Incoming, Link
from zkpot.link.base import matches
from zkpot.link.memory import MemoryBroker, MemoryLink
from zkpot.link.mqtt import MqttLink
from zkpot.wire import topics
from zkpot.wire.topics import Kind
from zkpot_aggregator.embedded.access import Account, readable, writable
from zkpot_aggregator.embedded.broker import EmbeddedBroker

AGGREGATOR, ANNA, BERT = (DeviceId(bytes([number]) * 20) for number in range(3))
TASK = TaskId(bytes(32))
ACCOUNTS = [
    Account(AGGREGATOR, "password 0", is_aggregator=True),
    Account(ANNA, "password 1"),
    Account(BERT, "password 2"),
]


class BrokerRig(Protocol):
    """A broker that can be stopped, and links to it."""

    def stop(self) -> None: ...

    def start(self) -> None: ...

    def link(
        self,
        device: DeviceId,
        *,
        journal: Journal,
        subscriptions: Sequence[str],
        will: Outgoing | None,
        births: Callable[[], Sequence[Outgoing]],
        packet_limit_bytes: int,
    ) -> Link: ...


class MemoryRig:
    def __init__(self) -> None:
        by_name = {each.username: each for each in ACCOUNTS}

        def may_write(client: str, topic: str) -> bool:
            return any(matches(topic, each) for each in writable(by_name[client]))

        def may_read(client: str, topic_filter: str) -> bool:
            return any(matches(topic_filter, each) for each in readable(by_name[client]))

        self.broker = MemoryBroker(may_write=may_write, may_read=may_read)
        self.start = self.broker.start
        self.stop = self.broker.stop

    def link(
        self,
        device: DeviceId,
        *,
        journal: Journal,
        subscriptions: Sequence[str],
        will: Outgoing | None,
        births: Callable[[], Sequence[Outgoing]],
        packet_limit_bytes: int,
    ) -> Link:
        return MemoryLink(
            self.broker,
            client_id=device_text(device),
            journal=journal,
            subscriptions=subscriptions,
            will=will,
            births=births,
            packet_limit_bytes=packet_limit_bytes,
        )


class EmbeddedRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = EmbeddedBroker(folder, ACCOUNTS)
        self.start()

    def start(self) -> None:
        self.broker.start()

    def stop(self) -> None:
        self.broker.stop()

    def link(
        self,
        device: DeviceId,
        *,
        journal: Journal,
        subscriptions: Sequence[str],
        will: Outgoing | None,
        births: Callable[[], Sequence[Outgoing]],
        packet_limit_bytes: int,
    ) -> Link:
        account = next(each for each in ACCOUNTS if each.device == device)
        password_file = self.folder / account.username
        password_file.write_text(account.password + "\n")
        settings = BrokerSettings(
            self.broker.host,
            self.broker.port,
            username=account.username,
            password_file=password_file,
            keepalive_s=2,
            packet_limit_bytes=packet_limit_bytes,
        )
        return MqttLink(
            settings,
            client_id=account.username,
            journal=journal,
            subscriptions=subscriptions,
            will=will,
            births=births,
        )


@dataclass
class Client:
    """A link at work: what it received, and the task that runs it."""

    link: Link
    journal: Journal
    running: asyncio.Task[None]
    received: list[Incoming] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None

    def send(self, topic: str, *payloads: bytes, retain: bool = False) -> None:
        self.journal.transition({}, [Outgoing(topic, each, retain) for each in payloads])

    def payloads(self) -> list[bytes]:
        """What arrived, without repetitions."""
        return list(dict.fromkeys(each.payload for each in self.received))

    async def until(self, *payloads: bytes) -> None:
        await eventually(lambda: set(payloads) <= {each.payload for each in self.received})

    async def read(self, pause_s: float = 0) -> None:
        async for incoming in self.link.incoming():
            self.received.append(incoming)
            await asyncio.sleep(pause_s)


async def eventually(holds: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - there is no event for any condition
            await asyncio.sleep(0.01)


class World:
    """One broker and the clients of one test."""

    def __init__(self, rig: BrokerRig, folder: Path) -> None:
        self.rig = rig
        self.folder = folder
        self.clients: list[Client] = []

    async def connect(
        self,
        device: DeviceId,
        subscriptions: Sequence[str] | None = None,
        *,
        will: Outgoing | None = None,
        births: Callable[[], Sequence[Outgoing]] = tuple,
        packet_limit_bytes: int = BrokerSettings.packet_limit_bytes,
        wait: bool = True,
        pause_s: float = 0,
    ) -> Client:
        if subscriptions is None:
            is_aggregator = device == AGGREGATOR
            subscriptions = (
                topics.aggregator_subscriptions()
                if is_aggregator
                else topics.device_subscriptions(device, TASK)
            )
        journal = Journal.open(self.folder / f"{device_text(device)}.db")
        link = self.rig.link(
            device,
            journal=journal,
            subscriptions=subscriptions,
            will=will,
            births=births,
            packet_limit_bytes=packet_limit_bytes,
        )
        client = Client(link, journal, asyncio.ensure_future(link.run()))
        client.reading = asyncio.ensure_future(client.read(pause_s))
        self.clients.append(client)
        if wait:
            await self.ready(client)
        return client

    async def ready(self, client: Client) -> None:
        waiting = asyncio.ensure_future(client.link.ready())
        done, _ = await asyncio.wait(
            {waiting, client.running}, timeout=20, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        if client.running in done:
            client.running.result()
        assert done, "no link"

    async def leave(self, client: Client, *, crash: bool = False) -> list[str]:
        unsent: list[str] = []
        if crash:
            client.running.cancel()
        elif not client.running.done():
            unsent = await client.link.stop()
        assert client.reading is not None
        client.reading.cancel()
        await asyncio.gather(client.running, client.reading, return_exceptions=True)
        client.journal.close()
        self.clients.remove(client)
        return unsent


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

    def test_a_transition_wakes_an_idle_link_at_once(self, play: Any) -> None:
        async def scenario(world: World) -> None:
            aggregator, anna = await world.connect(AGGREGATOR), await world.connect(ANNA)
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await asyncio.to_thread(anna.send, topics.up(ANNA, Kind.WANT), b"now")
            await aggregator.until(b"now")
            assert time.monotonic() - began < 0.5

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
                await asyncio.wait_for(anna.running, 5)
            assert caught.value.exit_code is ExitCode.CONFIG
            assert anna.journal.unsent() == 1

        play(scenario)

    def test_stop_sends_what_it_can_and_tells_what_it_could_not(self, play: Any) -> None:
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
            began = time.monotonic()
            assert await world.leave(bert) == [topics.up(BERT, Kind.COMMITMENT)]
            assert time.monotonic() - began < 2
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
            anna = await world.connect(ANNA, births=born, pause_s=5)
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
        return EmbeddedRig(folder)
