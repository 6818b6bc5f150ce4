"""Draining the journal's outbox: in order, each message forgotten after its acknowledgement.

Several messages are under way at once. They are sent in order on one connection, and what
was not acknowledged when it breaks is sent again, in order, on the next: a receiver may see
a stretch of messages twice and never one out of turn for the first time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from zkpot.journal import Journal, Outgoing

WINDOW = 16
"""Messages under way: below the 20 that brokers and clients allow by default."""


class Outbox:
    """Sends what the journal holds, at once when something is queued."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queued = asyncio.Event()
        self._empty = asyncio.Event()

    def listen(self) -> Callable[[], None]:
        """Begins to watch the journal from the running loop; returns what ends it."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # A loop that has closed in the meantime has nobody to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queued.set)

        return self._journal.on_outgoing(wake)

    async def drain(self, publish: Callable[[Outgoing], Awaitable[None]]) -> None:
        """Sends for ever. `publish` returns on acknowledgement; what it raises ends this."""
        while True:
            self._queued.clear()
            pending = self._journal.outgoing(limit=WINDOW)
            if not pending:
                self._empty.set()
                await self._queued.wait()
                continue
            self._empty.clear()
            # Tasks begin in the order of their creation: so do the packets.
            sending = [asyncio.ensure_future(publish(each.message)) for each in pending]
            try:
                for each, sent in zip(pending, sending, strict=True):
                    await sent
                    self._journal.acknowledge(each.number)
            finally:
                for sent in sending:
                    sent.cancel()
                await asyncio.gather(*sending, return_exceptions=True)

    async def emptied(self) -> None:
        """Returns when everything queued so far is acknowledged."""
        while self._journal.unsent():
            self._empty.clear()
            await self._empty.wait()

    def unsent(self) -> list[str]:
        """Topics of the messages that still wait, at most one reading of the journal."""
        return [pending.message.topic for pending in self._journal.outgoing()]
