"""Devices on a made-up round, with a worker that does nothing by itself."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.agent.announcements import TASK
from tests.protocol.rounds import OPERATOR, key, make_samples, make_task

from zkpot.cid import Cid, node_cid
from zkpot.errors import Reason, Rejected
from zkpot.journal import Journal
from zkpot.link import BrokerSettings
from zkpot.proof.system import no_progress
from zkpot.wire.messages import Announcement
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import AgentConfig, DataConfig, ExportConfig
from zkpot_agent.objects import Objects
from zkpot_agent.round import events as on
from zkpot_agent.round.states import Opened, Proving, Seated, Submitted
from zkpot_agent.round_secrets import opening_key
from zkpot_agent.work import Worker


def config(folder: Path) -> AgentConfig:
    """What a device needs to run, with nobody to talk to."""
    return AgentConfig(
        task=TASK.hex(),
        operator_key=OPERATOR.public_key.hex(),
        key_file=folder / "device.key",
        state_dir=folder,
        broker=BrokerSettings("127.0.0.1", 1),
        data=DataConfig("synthetic"),
        export=ExportConfig(tflite=False),
    )


@dataclass(frozen=True)
class FakeObjects(Objects):
    """Objects from a dictionary; an exception stands for an object that fails so."""

    kept: dict[Cid, bytes | Exception] = field(default_factory=dict)

    async def fetch(self, cid: Cid) -> bytes:
        """See `Objects.fetch`."""
        await asyncio.sleep(0)
        found = self.kept.get(cid, Rejected(Reason.NOT_FOUND, cid.hex()))
        if isinstance(found, Exception):
            raise found
        return found


@dataclass(frozen=True)
class Ordered:
    """A piece of work that was begun: `outcome` is what ends it."""

    what: str
    about: object
    outcome: "asyncio.Future[on.Event]"


@dataclass(frozen=True)
class FakeWorker(Worker):
    """A worker whose work ends when the test says so."""

    ordered: list[Ordered] = field(default_factory=list)
    models: list[Cid] = field(default_factory=list)

    async def _order(self, what: str, about: object) -> on.Event:
        future: asyncio.Future[on.Event] = asyncio.get_running_loop().create_future()
        self.ordered.append(Ordered(what, about, future))
        return await future

    async def train(self, joined: Announcement) -> on.Event:
        """See `Worker.train`; the secret is in the journal before training ends."""
        event = await self._order("train", joined)
        self.journal.transition({opening_key(joined.round): b"secret opening"})
        return event

    async def prove(self, proving: Proving) -> on.Event:
        """See `Worker.prove`."""
        return await self._order("prove", proving)

    async def contribute(self, submitted: Submitted, verdicts: Cid) -> on.Event:
        """See `Worker.contribute`."""
        return await self._order("contribute", (submitted, verdicts))

    async def answer(self, seated: Seated) -> on.Event:
        """See `Worker.answer`."""
        return await self._order("answer", seated)

    async def check_record(self, opened: Opened | Seated, cid: Cid) -> on.Event:
        """See `Worker.check_record`."""
        return await self._order("check", (opened, cid))

    async def model_after(self, record: Cid) -> bytes:
        """See `Worker.model_after`."""
        await asyncio.sleep(0)
        self.models.append(record)
        return b"model of " + record


def tools(folder: Path, journal: Journal, **changes: Any) -> dict[str, Any]:
    """The arguments of a worker; `changes` replace some."""
    arguments: dict[str, Any] = {
        "config": config(folder),
        "task": make_task(make_samples(), node_cid(b"genesis")),
        "key": key(0),
        "journal": journal,
        "blocks": JournalBlocks(journal),
        "objects": FakeObjects(None, OPERATOR.id),  # type: ignore[arg-type]
        "progress": no_progress,
    }
    return arguments | changes


def fake_worker(folder: Path, journal: Journal) -> FakeWorker:
    """A worker under the test's control."""
    return FakeWorker(**tools(folder, journal))


def spawn(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Starts a task of this loop."""
    return asyncio.get_running_loop().create_task(coroutine)
