"""Brokers, links to them and clients, for the tests that every link passes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from tests.real.components import free_port

from zkpot.ids import DeviceId, TaskId, device_text
from zkpot.journal import Journal, Outgoing
from zkpot.link import BrokerSettings, Incoming, Link
from zkpot.link.base import matches
from zkpot.link.memory import MemoryBroker, MemoryLink
from zkpot.link.mqtt import MqttLink
from zkpot.wire import topics
from zkpot_aggregator.embedded.access import Account, readable, writable
from zkpot_aggregator.embedded.broker import EmbeddedBroker

AGGREGATOR, ANNA, BERT = (DeviceId(bytes([number]) * 20) for number in range(3))
TASK = TaskId(bytes(32))
KEEPALIVE_S = 4
"""A broker gives a client up that is silent for half as long again."""
ACCOUNTS = [
    Account(AGGREGATOR, "password 0", is_aggregator=True),
    Account(ANNA, "password 1"),
    Account(BERT, "password 2"),
]


@dataclass(frozen=True)
class Terms:
    """What a client wants of its link."""

    journal: Journal
    subscriptions: Sequence[str]
    will: Outgoing | None
    births: Callable[[], Sequence[Outgoing]]
    packet_limit_bytes: int


class BrokerRig(Protocol):
    """A broker that can be stopped, and links to it."""

    def stop(self) -> object: ...

    def start(self) -> object: ...

    def link(self, device: DeviceId, terms: Terms) -> Link: ...


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

    def link(self, device: DeviceId, terms: Terms) -> Link:
        return MemoryLink(self.broker, client_id=device_text(device), **vars(terms))


class Server(Protocol):
    """A broker in this process or another."""

    def start(self) -> object: ...

    def stop(self) -> object: ...


class MqttRig:
    """A broker that speaks MQTT; `settings` are a device's."""

    def __init__(self, broker: Server, settings: Callable[[DeviceId], BrokerSettings]) -> None:
        self.settings = settings
        self.start = broker.start
        self.stop = broker.stop
        self.start()

    def link(self, device: DeviceId, terms: Terms) -> Link:
        fields = vars(terms).copy()
        limit = fields.pop("packet_limit_bytes")
        settings = replace(self.settings(device), packet_limit_bytes=limit)
        return MqttLink(settings, client_id=device_text(device), **fields)


def embedded_rig(folder: Path) -> MqttRig:
    broker = EmbeddedBroker(folder, ACCOUNTS, port=free_port())

    def settings(device: DeviceId) -> BrokerSettings:
        account = next(each for each in ACCOUNTS if each.device == device)
        password_file = folder / account.username
        password_file.write_text(account.password + "\n")
        return BrokerSettings(
            broker.host,
            broker.port,
            username=account.username,
            password_file=password_file,
            keepalive_s=KEEPALIVE_S,
        )

    return MqttRig(broker, settings)


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


async def eventually(holds: Callable[[], bool], timeout_s: float = 60) -> None:
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
        terms = Terms(journal, subscriptions, will, births, packet_limit_bytes)
        link = self.rig.link(device, terms)
        client = Client(link, journal, asyncio.ensure_future(link.run()))
        client.reading = asyncio.ensure_future(client.read(pause_s))
        self.clients.append(client)
        if wait:
            await self.ready(client)
        return client

    async def ready(self, client: Client) -> None:
        waiting = asyncio.ensure_future(client.link.ready())
        done, _ = await asyncio.wait(
            {waiting, client.running}, timeout=60, return_when=asyncio.FIRST_COMPLETED
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
