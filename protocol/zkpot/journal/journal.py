"""State and outgoing messages, written in one transaction before any effect is carried out.

A transition is on the disk when `transition` returns, or nothing of it is. Outgoing
messages keep their order until they are acknowledged; a message with a slot takes the
place of an older one still waiting in that slot. Safe to call from several threads.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from zkpot.journal.database import Lock, connect, translated, unusable

_logger = logging.getLogger(__name__)

MAX_EVENTS_PER_KIND = 10_000
"""A peer that makes up ever new things to be noted must not fill the disk."""

MAX_PENDING = 64
"""Messages read from the outbox at once: 10 MiB of the largest."""


@dataclass(frozen=True)
class Outgoing:
    """A message to publish; `replaces` names the slot of which it is the newest value."""

    topic: str
    payload: bytes
    retain: bool = False
    replaces: str | None = None


@dataclass(frozen=True)
class Pending:
    """A message that waits for the broker's acknowledgement, and its place in the order."""

    number: int
    message: Outgoing


@dataclass(frozen=True)
class Event:
    """Something noted once, in the order of noting."""

    number: int
    kind: str
    key: str
    value: bytes


class Journal:
    """The store of one process; `open` it, and `close` it (it is a context manager)."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: Lock) -> None:
        self._path = path
        self._connection = connection
        self._process_lock = lock
        self._mutex = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, max_bytes: int | None = None) -> "Journal":
        """Opens or creates the journal at `path`.

        Raises `Fatal` if it is refused, `Transient` where the disk is full or another process has
        it open. `max_bytes` bounds the file: a transition beyond it is `Transient` and undone.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
        except OSError as error:
            raise unusable(error, path) from error
        try:
            return cls(path, connect(path, max_bytes), lock)
        except BaseException:
            lock.release()
            raise

    def transition(
        self, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        """Writes states (None deletes) and queues messages, all or nothing, then wakes the link.

        Raises `Transient` when the disk is full and `Fatal` for what a retry cannot cure; the
        previous state stands in both cases.
        """
        with self._transaction() as connection:
            for key, value in puts.items():
                if value is None:
                    connection.execute("DELETE FROM states WHERE key = ?", (key,))
                else:
                    connection.execute(
                        "INSERT INTO states VALUES (?, ?)"
                        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                        (key, value),
                    )
            for message in outgoing:
                connection.execute(
                    "INSERT OR REPLACE INTO outgoing (topic, payload, retain, slot)"
                    " VALUES (?, ?, ?, ?)",
                    (message.topic, message.payload, message.retain, message.replaces),
                )
        if None in puts.values():
            self._forget_deleted()
        if outgoing:
            for listener in tuple(self._listeners):
                listener()

    def get(self, key: str) -> bytes | None:
        """The value of `key`, if it has one."""
        rows = self._read("SELECT value FROM states WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def items(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """Keys that start with `prefix` and their values, by key."""
        return self._read(
            "SELECT key, value FROM states WHERE substr(key, 1, ?) = ? ORDER BY key",
            (len(prefix), prefix),
        )

    def outgoing(self, *, after: int = 0, limit: int = MAX_PENDING) -> list[Pending]:
        """Messages not acknowledged yet, oldest first, from behind number `after`."""
        rows = self._read(
            "SELECT number, topic, payload, retain, slot FROM outgoing"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [
            Pending(number, Outgoing(topic, payload, bool(retain), slot))
            for number, topic, payload, retain, slot in rows
        ]

    def unsent(self) -> int:
        """How many messages wait."""
        count: int = self._read("SELECT count(*) FROM outgoing", ())[0][0]
        return count

    def acknowledge(self, *numbers: int) -> None:
        """Forgets messages that the broker has taken over; unknown numbers are none."""
        with self._transaction() as connection:
            connection.executemany(
                "DELETE FROM outgoing WHERE number = ?", [(number,) for number in numbers]
            )

    def note(self, kind: str, key: str, value: bytes = b"", *, rolling: bool = False) -> bool:
        """Keeps an event; False if it was noted before or its kind is full.

        Where `rolling`, the oldest makes room instead: for what no stranger can cause, since a
        flood of it would wash away what happened before.
        """
        with self._transaction() as connection:
            if rolling:
                connection.execute(
                    "DELETE FROM events WHERE kind = ? AND number <= (SELECT number FROM events"
                    " WHERE kind = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    (kind, kind, MAX_EVENTS_PER_KIND - 1),
                )
            cursor = connection.execute(
                "INSERT OR IGNORE INTO events (kind, key, value) SELECT ?, ?, ?"
                " WHERE (SELECT count(*) FROM events WHERE kind = ?) < ?",
                (kind, key, value, kind, MAX_EVENTS_PER_KIND),
            )
            return cursor.rowcount == 1

    def events(self, kind: str) -> list[Event]:
        """What was noted under `kind`, oldest first."""
        rows = self._read(
            "SELECT number, kind, key, value FROM events WHERE kind = ? ORDER BY number", (kind,)
        )
        return [Event(*row) for row in rows]

    def on_outgoing(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener`, in the writer's thread, after messages were queued; returns its end."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        """Folds the write-ahead log into the file and lets the next process in."""
        with self._mutex:
            if not self._closed:
                self._closed = True
                self._connection.close()
                self._process_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._mutex:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise translated(error, self._path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                finally:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise translated(error, self._path) from error

    def _forget_deleted(self) -> None:
        # A deleted key must not live on in the log. Best effort: the transition stands already.
        with self._mutex:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                _logger.warning("%s: log not truncated: %s", self._path, error)
