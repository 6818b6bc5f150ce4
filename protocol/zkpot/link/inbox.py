"""The bounded queue between a connection and the service that reads from it.

A message is acknowledged when the service asks for the next one, so that a crash in
between brings it back. A full inbox refuses and never waits: the connection must go on
answering the broker's keep-alive whatever the service does.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from zkpot.link.base import Incoming

MAX_MESSAGES = 1024
MAX_BYTES = 32 * 1024 * 1024
"""Four windows of blocks. A message larger than what is left is refused."""


class Inbox:
    """Holds messages with what acknowledges each of them."""

    def __init__(self, *, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._queue: deque[tuple[Incoming, Callable[[], None]]] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def offer(self, incoming: Incoming, acknowledge: Callable[[], None]) -> bool:
        """Takes a message, or returns False if there is no room for it."""
        size = len(incoming.payload)
        if len(self._queue) >= self._max_messages or self._bytes + size > self._max_bytes:
            return False
        self._queue.append((incoming, acknowledge))
        self._bytes += size
        self._changed.set()
        if 2 * len(self._queue) > self._max_messages or 2 * self._bytes > self._max_bytes:
            self._drained.clear()
        return True

    async def half_empty(self) -> None:
        """Returns when there is room again; reconnecting earlier would only overflow again."""
        await self._drained.wait()

    async def incoming(self) -> AsyncIterator[Incoming]:
        """The messages in order of arrival; see `Link.incoming`."""
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            incoming, acknowledge = self._queue.popleft()
            self._bytes -= len(incoming.payload)
            if 2 * len(self._queue) <= self._max_messages and 2 * self._bytes <= self._max_bytes:
                self._drained.set()
            yield incoming
            acknowledge()
            # Whoever sends without end must not keep the service from everything else.
            await asyncio.sleep(0)
