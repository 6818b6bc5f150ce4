"""Work that hangs starves the watchdog; a hot board holds training, and a cooler one lets it go on.

Real child processes, a real notify socket and real sensor files; only the clock behind the
allowance runs faster.
"""

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.agent.announcements import announcement
from tests.agent.devices import FakeWorker, spawn, tools
from tests.device.stuck_jobs import STEPS, hang_until
from tests.device.test_holds import set_zone
from tests.protocol.rounds import make_samples, make_task

from zkpot.cid import node_cid
from zkpot.initial import initial_model
from zkpot.journal import Journal
from zkpot.notify import Notifier, Pulse, StatusLine, feed_watchdog
from zkpot.proof import child
from zkpot.proof.system import ModelOpening, no_progress
from zkpot.wire.messages import Announcement, Phase
from zkpot_agent import jobs, thermal_job
from zkpot_agent.config import DataConfig, TrainConfig
from zkpot_agent.driver import Driver
from zkpot_agent.profile import Thermal
from zkpot_agent.profile_holds import Holds
from zkpot_agent.round import events as on
from zkpot_agent.round.states import Training

FASTER = 20
"""A minute of the allowance passes in three seconds."""

QUIET_SECONDS = 1.0
"""Of the watchdog's silence: twenty meals that were not given."""

PATIENCE = 120.0


@dataclass(frozen=True)
class StuckWorker(FakeWorker):
    """Its training hangs until `released` is there."""

    released: Path = field(kw_only=True)

    async def train(self, joined: Announcement) -> on.Event:
        """See `Worker.train`."""
        await child.run(hang_until, str(self.released), progress=self.progress)
        return on.GaveUp(joined.round, "it did not hang")


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, address: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "100000"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.setblocking(False)

    async def fed(self) -> None:
        """Returns when the watchdog is fed."""
        loop = asyncio.get_running_loop()
        while await loop.sock_recv(self._socket, 4096) != b"WATCHDOG=1":
            pass

    def forget(self) -> None:
        """Leaves out what was said before."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


def test_work_that_hangs_starves_the_watchdog(tmp_path: Path) -> None:
    released = tmp_path / "released"
    steps: list[float] = []

    async def scenario(manager: Manager, journal: Journal) -> None:
        hung = asyncio.Event()

        def progress(_what: str, fraction: float) -> None:
            steps.append(fraction)
            if len(steps) == STEPS:
                hung.set()

        notifier = Notifier(manager.environment)
        pulse = Pulse(lambda: FASTER * time.monotonic())
        line = StatusLine(notifier, pulse, progress)
        arguments = tools(tmp_path, journal, progress=line.progress)
        driver = Driver(StuckWorker(**arguments, released=released), spawn, pulse=pulse)
        feeding = asyncio.create_task(feed_watchdog(notifier, pulse))
        async with asyncio.timeout(PATIENCE):
            await manager.fed()
            driver.apply(on.Announced(announcement(1, Phase.COMMIT)))
            assert pulse.alive
            await hung.wait()
            await manager.fed()
            while pulse.alive:  # noqa: ASYNC110  (time passes, nothing happens)
                await asyncio.sleep(0.05)
            manager.forget()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(manager.fed(), QUIET_SECONDS)
            assert isinstance(driver.state, Training)
            assert len(steps) == STEPS
            released.touch()
            await manager.fed()
            assert not isinstance(driver.state, Training)
        feeding.cancel()

    manager = Manager(tmp_path / "notify")
    with contextlib.closing(manager), Journal.open(tmp_path / "journal") as journal:
        asyncio.run(scenario(manager, journal))


def test_a_hot_board_holds_training_until_it_has_cooled_down(tmp_path: Path) -> None:
    task = make_task(make_samples(), node_cid(b"genesis"))
    shape = task.model.shape
    parameters = {"features": shape.features, "classes": shape.classes, "samples": 50}
    data, config = DataConfig("synthetic", parameters), TrainConfig()
    start = initial_model(task.model, 1)
    holds = Holds(thermal=Thermal(pause_c=70, resume_c=60), sysfs=tmp_path)
    said: list[str] = []

    def progress(what: str, _fraction: float) -> None:
        said.append(what)

    async def said_next(what: str) -> None:
        """Returns when the held training reports `what`, and nothing else meanwhile."""
        said.clear()
        while what not in said:
            assert {each.split(":")[0] for each in said} <= {"paused"}
            await asyncio.sleep(0.01)

    async def scenario() -> ModelOpening:
        async with asyncio.timeout(PATIENCE):
            set_zone(tmp_path, 0, "cpu-thermal", "80000")
            running = asyncio.create_task(
                child.run(thermal_job.train, holds, task, start, data, config, 7, progress=progress)
            )
            await said_next("paused: cpu-thermal has 80 degrees")
            # Below the limit is not enough: only at the other one does it go on.
            set_zone(tmp_path, 0, "cpu-thermal", "65000")
            await said_next("paused: cpu-thermal has 65 degrees")
            assert not running.done()
            set_zone(tmp_path, 0, "cpu-thermal", "60000")
            return await running

    held = asyncio.run(scenario())
    assert said[-1] == "training"
    free = jobs.train(no_progress, task, start, data, config, 7)
    assert np.array_equal(held.theta, free.theta)
