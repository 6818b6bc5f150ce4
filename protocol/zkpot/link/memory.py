"""A broker in memory and links to it, without sockets: for tests and for single processes.

Like an embedded broker it forgets sessions and retained messages when it stops.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Journal, Outgoing
from zkpot.link.base import BrokerSettings, Incoming, matches
from zkpot.link.failures import check_packet
from zkpot.link.inbox import Inbox
from zkpot.link.outbox import Outbox

Allowed = Callable[[str, str], bool]
"""(client id, topic or filter) -> whether the access list has it."""


@dataclass
class _Session:
    subscriptions: tuple[str, ...]
    inbox: Inbox | None = None
    kept: deque[Incoming] = field(default_factory=deque)

    def deliver(self, incoming: Incoming) -> None:
        if self.inbox is None or not self.inbox.offer(incoming, lambda: None):
            self.kept.append(incoming)


class MemoryBroker:
    """Delivers at once; `stop` and `start` imitate a restart."""

    def __init__(
        self,
        *,
        may_write: Allowed = lambda _client, _topic: True,
        may_read: Allowed = lambda _client, _filter: True,
    ) -> None:
        self.may_write = may_write
        self.may_read = may_read
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self.start()

    def start(self) -> None:
        """Lets links connect."""
        self._down.clear()
        self._up.set()

    def stop(self) -> None:
        """Drops every connection and all it knew."""
        self._up.clear()
        self._down.set()
        self._sessions.clear()
        self._retained.clear()

    async def up(self) -> None:
        """Returns when links may connect."""
        await self._up.wait()

    async def down(self) -> None:
        """Returns when the broker has stopped."""
        await self._down.wait()

    def attach(self, client_id: str, subscriptions: Sequence[str], inbox: Inbox) -> None:
        """Connects a client to its session and hands over what waited for it."""
        for topic_filter in subscriptions:
            if not self.may_read(client_id, topic_filter):
                raise Fatal(
                    ExitCode.CREDENTIALS, f"broker refuses the subscription to {topic_filter}"
                )
        session = self._sessions.setdefault(client_id, _Session(tuple(subscriptions)))
        session.subscriptions, session.inbox = tuple(subscriptions), inbox
        kept, session.kept = session.kept, deque()
        for incoming in kept:
            session.deliver(incoming)
        for topic, payload in self._retained.items():
            if any(matches(topic, each) for each in subscriptions):
                session.deliver(Incoming(topic, payload, retained=True))

    def detach(self, client_id: str) -> None:
        """Disconnects a client; its session stays."""
        if client_id in self._sessions:
            self._sessions[client_id].inbox = None

    def publish(self, client_id: str, message: Outgoing) -> None:
        """Delivers a message, or drops it in silence if the access list forbids it."""
        if not self.may_write(client_id, message.topic):
            return
        if message.retain:
            self._retained[message.topic] = message.payload
        for session in self._sessions.values():
            if any(matches(message.topic, each) for each in session.subscriptions):
                session.deliver(Incoming(message.topic, message.payload, retained=False))


class MemoryLink:
    """`Link` to a `MemoryBroker`."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        client_id: str,
        journal: Journal,
        subscriptions: Sequence[str],
        will: Outgoing | None = None,
        births: Callable[[], Sequence[Outgoing]] = tuple,
        packet_limit_bytes: int = BrokerSettings.packet_limit_bytes,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._subscriptions = tuple(subscriptions)
        self._will = will
        self._births = births
        self._packet_limit_bytes = packet_limit_bytes
        self._inbox = Inbox()
        self._outbox = Outbox(journal)
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """See `Link.run`."""
        unlisten = self._outbox.listen()
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                await _first(stopping, asyncio.ensure_future(self._broker.up()))
                if not self._stopping.is_set():
                    await self._connection(stopping)
        finally:
            unlisten()
            stopping.cancel()

    async def ready(self) -> None:
        """See `Link.ready`."""
        await self._ready.wait()

    def incoming(self) -> AsyncIterator[Incoming]:
        """See `Link.incoming`."""
        return self._inbox.incoming()

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        """See `Link.publish_volatile`."""
        check_packet(topic, payload, self._packet_limit_bytes)
        if self._ready.is_set():
            self._broker.publish(self._client_id, Outgoing(topic, payload))
        await asyncio.sleep(0)

    async def stop(self) -> list[str]:
        """See `Link.stop`."""
        if self._ready.is_set():
            await self._outbox.emptied()
        self._stopping.set()
        return self._outbox.unsent()

    async def _connection(self, stopping: asyncio.Future[Any]) -> None:
        self._broker.attach(self._client_id, self._subscriptions, self._inbox)
        try:
            for birth in self._births():
                await self._publish(birth)
            self._ready.set()
            await _first(
                stopping,
                asyncio.ensure_future(self._broker.down()),
                asyncio.ensure_future(self._outbox.drain(self._publish)),
            )
        finally:
            self._ready.clear()
            self._broker.detach(self._client_id)
            if self._will is not None:
                self._broker.publish(self._client_id, self._will)

    async def _publish(self, message: Outgoing) -> None:
        check_packet(message.topic, message.payload, self._packet_limit_bytes)
        self._broker.publish(self._client_id, message)


async def _first(stopping: asyncio.Future[Any], *tasks: asyncio.Future[Any]) -> None:
    """Waits for the first of all; ends the others but `stopping`, raises what one raised."""
    try:
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome
