"""Validators on the world's ledger: all real but broker and clock."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.protocol.rounds import OPERATOR
from tests.validate.world import ACCOUNTS, VALIDATORS, Operator, Said

from zkpot.cid import MAX_OBJECT_BYTES, Cid, split_object
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.link.blocks import BlockExchange
from zkpot.wire import topics
from zkpot.wire.messages import Announcement
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.content.base import ContentStore, get_object
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.validate.endorse import Endorsing
from zkpot_aggregator.validate.hearing import Hearing
from zkpot_aggregator.validate.library import Library, Shelf
from zkpot_aggregator.validate.outcome import Outcomes
from zkpot_aggregator.validate.remember import RememberingSystem
from zkpot_aggregator.validate.settle import Settling
from zkpot_aggregator.validate.tools import Tools

MARGIN_S = 1.0


@dataclass
class Clock:
    """A clock that tests move."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class FromOperator(BlockExchange):
    """An exchange without a link: fetches what the operator hands out."""

    def __init__(self, operator: Operator, store: ContentStore) -> None:
        self._operator = operator
        self._kept = store
        self.withheld: set[Cid] = set()

    async def fetch(
        self,
        cid: Cid,
        peer: DeviceId,
        *,
        deadline_s: float,
        max_bytes: int = MAX_OBJECT_BYTES,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> bytes:
        """See `BlockExchange.fetch`."""
        assert peer == OPERATOR.id
        await asyncio.sleep(0)
        if cid in self.withheld:
            raise Rejected(Reason.OBJECT_UNAVAILABLE, "withheld")
        data = get_object(self._operator.content, cid)
        for name, block in self._operator.content.blocks.items():
            if name == cid or name in split_object(data)[1]:
                self._kept.put(name, block)
        return data


@dataclass
class Member:
    """One validator, as a process that can be stopped and started; `open` runs it."""

    index: int
    folder: Path
    operator: Operator
    clock: Clock = field(default_factory=Clock)
    content: MemoryStore = field(default_factory=MemoryStore)
    ledger: Ledger | None = None
    withheld: set[Cid] = field(default_factory=set)

    @property
    def key(self) -> KeyPair:
        """Its Ed25519 key."""
        return VALIDATORS[self.index]

    def start(self) -> None:
        """A process that finds what the one before has left on disk."""
        operator = self.operator
        self.journal = Journal.open(self.folder / f"validator-{self.index}" / "journal.sqlite")
        ledger = self.ledger or MemoryLedger(ACCOUNTS[self.index], operator.chain)
        self.chain = Chain(ledger, self.journal)
        intake = Intake(self.folder / f"validator-{self.index}" / "intake", self.content)
        exchange = FromOperator(operator, self.content)
        exchange.withheld = self.withheld
        library = Library(
            Shelf(intake, self.content), exchange, OPERATOR.id, 1.0, asyncio.get_running_loop()
        )
        system = RememberingSystem(operator.system)
        tools = Tools(
            operator.task_id, operator.task, self.key, self.journal, self.chain, library, system
        )
        self.outcomes = Outcomes(self.journal)
        self.hearing = Hearing(self.journal, intake, MARGIN_S, self.clock)
        self.clock.now += 10 * MARGIN_S
        self.settling = Settling(tools, self.outcomes, self.hearing, self.clock)
        self.endorsing = Endorsing(tools, self.outcomes, self.hearing)

    def stop(self) -> None:
        """As a kill would: nothing is written any more."""
        self.chain.stop()
        self.journal.close()

    def hear(self, said: Said) -> None:
        """The broker delivers a device's message and its blocks."""
        for topic, payload in said.published:
            self.hearing.hear(topics.parse_device_topic(topic), payload)

    async def step(self) -> None:
        """What the service's loop does once."""
        await self.settling.step()
        await self.endorsing.step()

    def sent(self, topic: str) -> list[bytes]:
        """What waits in the outbox for a topic."""
        pending = self.journal.outgoing()
        return [each.message.payload for each in pending if each.message.topic == topic]


@dataclass
class Fleet:
    """The operator and its task's validators, told the same at the same time."""

    operator: Operator
    members: list[Member]

    async def told(self, announcement: Announcement) -> None:
        """Everybody hears an announcement and does what it can."""
        for member in self.members:
            member.endorsing.announced(announcement, kept=False)
            await member.step()

    async def heard(self, said: Said) -> None:
        """Everybody hears a device, and time passes: it is in time."""
        for member in self.members:
            member.hear(said)
            member.clock.now += 2 * MARGIN_S
            await member.step()


@contextmanager
def fleet(folder: Path, operator: Operator, count: int = 3) -> Iterator[Fleet]:
    """Validators that run until the end of the block; to be used inside a running loop."""
    members = [Member(index, folder, operator) for index in range(count)]
    for member in members:
        member.start()
    try:
        yield Fleet(operator, members)
    finally:
        for member in members:
            member.stop()
