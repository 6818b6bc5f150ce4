"""What systemd is told, and when the watchdog is no longer fed."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zkpot.notify import Notifier, Pulse, StatusLine, feed_watchdog


class Manager:
    """The receiving end of sd_notify(3)."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address.replace("\0", "@"), "WATCHDOG_USEC": "40000"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def fill(self) -> None:
        """Sends until the queue takes no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(self._socket.getsockname())
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.send(b"STATUS=busy")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"\0zkpot-test-{os.getpid()}"
    found = Manager(name)
    yield found
    found.close()


def test_the_life_of_a_service(manager: Manager) -> None:
    notifier = Notifier(manager.environment)
    notifier.status("connecting")
    notifier.status("connecting")
    notifier.ready()
    notifier.status("round 3:\ntraining")
    notifier.stopping()
    assert manager.heard() == [
        "STATUS=connecting",
        "READY=1",
        "STATUS=round 3: training",
        "STOPPING=1",
    ]


def test_without_a_manager_nothing_is_sent(manager: Manager) -> None:
    notifier = Notifier({"WATCHDOG_USEC": "40000"})
    notifier.ready()
    assert notifier.watchdog_s is None
    assert manager.heard() == []


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


def test_a_manager_that_is_behind_hears_what_it_acts_on(manager: Manager) -> None:
    """Without READY=1 the start times out; a line for people may get lost."""
    manager.fill()
    early: list[str] = []
    reader = threading.Timer(0.1, lambda: early.extend(manager.heard()))
    reader.start()
    notifier = Notifier(manager.environment)
    notifier.status("connecting")
    notifier.ready()
    reader.join()
    assert set(early) - {"READY=1"} == {"STATUS=busy"}
    assert [*early, *manager.heard()][-1] == "READY=1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.04),
        ({"WATCHDOG_PID": str(os.getpid())}, 0.04),
        ({"WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_whose_watchdog_it_is(
    manager: Manager, changes: dict[str, str], expected: float | None
) -> None:
    assert Notifier(manager.environment | changes).watchdog_s == expected


def test_the_pulse() -> None:
    now = 0.0
    pulse = Pulse(lambda: now)
    now = 1e6
    assert pulse.alive, "waiting for a round may take for ever"
    pulse.busy(10)
    now += 10
    assert pulse.alive
    now += 1
    assert not pulse.alive
    pulse.beat()
    assert pulse.alive
    now += 11
    pulse.idle()
    assert pulse.alive


def test_the_watchdog_is_fed_only_while_the_work_gets_on(manager: Manager) -> None:
    now = 0.0
    pulse = Pulse(lambda: now)
    notifier = Notifier(manager.environment)

    async def scenario() -> tuple[list[str], list[str]]:
        nonlocal now
        feeding = asyncio.create_task(feed_watchdog(notifier, pulse))
        pulse.busy(5)
        await asyncio.sleep(0.1)
        fed = manager.heard()
        now = 6.0
        await asyncio.sleep(0.05)
        manager.heard()
        await asyncio.sleep(0.1)
        starved = manager.heard()
        feeding.cancel()
        return fed, starved

    fed, starved = asyncio.run(scenario())
    assert len(fed) >= 2
    assert set(fed) == {"WATCHDOG=1"}
    assert starved == []


def test_without_a_watchdog_nobody_feeds_it() -> None:
    asyncio.run(asyncio.wait_for(feed_watchdog(Notifier({}), Pulse()), 5))


def test_the_status_line_has_phase_and_percentage(manager: Manager) -> None:
    now = 0.0
    pulse = Pulse(lambda: now)
    passed_on: list[tuple[str, float]] = []
    line = StatusLine(Notifier(manager.environment), pulse, lambda *step: passed_on.append(step))
    line.phase("round 3: training")
    pulse.busy(10)
    now = 9.0
    line.progress("training", 0.451)
    line.progress("training", 0.453)
    now = 18.0
    assert pulse.alive, "a step is a sign of life"
    assert manager.heard() == [
        "STATUS=round 3: training",
        "STATUS=round 3: training, training 45%",
    ]
    assert passed_on == [("training", 0.451), ("training", 0.453)]
