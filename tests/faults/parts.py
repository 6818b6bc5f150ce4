"""One process of the world: started again when it dies, as a service manager would."""

import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.network import Proxy
from tests.faults.surroundings import Clock, Disk
from tests.real.components import Server

from zkpot.errors import ExitCode

RESTART_S = 1.0
FATAL = frozenset(
    {
        ExitCode.USAGE,
        ExitCode.CONFIG,
        ExitCode.KEY,
        ExitCode.STATE,
        ExitCode.DEPENDENCY,
        ExitCode.CREDENTIALS,
        ExitCode.LEDGER,
        ExitCode.INTERNAL,
    }
)
"""After these the units do not start a service again (docs/exit-codes.md), or there is a bug."""


@dataclass
class Part:
    """A component's process and what surrounds it; `start` also starts it again."""

    name: str
    start: Callable[[], None]
    server: Callable[[], Server]
    proxies: list[Proxy] = field(default_factory=list)
    disk: Disk | None = None
    clock: Clock | None = None
    before_kill: Callable[[], None] = lambda: None
    restarts: int = 0
    _down_on_purpose: bool = False
    _try_again_at: float = 0.0

    @property
    def pid(self) -> int | None:
        """Its process, if there is one."""
        popen = self.server().popen
        return None if popen is None or popen.poll() is not None else popen.pid

    def kill(self) -> None:
        """As by `kill -9`; it stays away until `revive`."""
        self.before_kill()
        self._down_on_purpose = True
        self.server().kill()

    def revive(self) -> None:
        """Starts it after `kill`; if it cannot start yet, it is tried again."""
        self._down_on_purpose = False
        self._try_to_start()

    def freeze(self, *, frozen: bool) -> None:
        """SIGSTOP or SIGCONT."""
        popen = self.server().popen
        if popen is not None:
            popen.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def stop(self) -> None:
        """For good."""
        self._down_on_purpose = True
        self.freeze(frozen=False)
        self.server().stop()

    def look(self) -> bool:
        """Starts it again if it has died; False once it has ended well.

        Raises AssertionError if it has ended with a status after which nobody would.
        """
        if self._down_on_purpose or self.pid is not None:
            return True
        popen = self.server().popen
        status = None if popen is None else popen.returncode
        if status == 0:
            return False
        assert status not in FATAL, f"{self.name} gave up with {status}:\n{self.tail()}"
        if time.monotonic() > self._try_again_at:
            self.restarts += 1
            self._try_to_start()
        return True

    def _try_to_start(self) -> None:
        try:
            self.start()
        except AssertionError:
            self._try_again_at = time.monotonic() + RESTART_S

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.server().log.read_text(errors="replace").splitlines()[-lines:])


def service(
    config: Path, environment: dict[str, str], module: str, command: str, *options: str
) -> tuple[Callable[[], None], Server]:
    """How to start a service of ours, and its server."""
    words = [sys.executable, "-u", "-m", module, command, "--config", str(config), *options]
    server = Server(words, config.with_name("log"), environment=environment)
    return lambda: server.start(lambda: True), server


@dataclass
class Events:
    """What an aggregator has said, over all its lives, as JSON lines in its log."""

    log: Path
    states: list[tuple[int, str]] = field(default_factory=list)
    ready: dict[str, Any] = field(default_factory=dict)
    _read: int = 0

    def read(self) -> None:
        """Takes in what is new."""
        if not self.log.exists():
            return
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if not line.startswith(b'{"event"'):
                continue
            event = json.loads(line)
            if event["event"] == "ready":
                self.ready = event
            elif event["event"] == "state":
                self.states.append((event["round"], event["state"]))

    @property
    def last(self) -> tuple[int, str]:
        """The latest round and state."""
        return self.states[-1] if self.states else (0, "")
