"""Finds the servers that the tests with real components start; see scripts/install-components."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from zkpot_aggregator.demo.processes import LEASH

FOLDER = Path(os.environ.get("ZKPOT_COMPONENTS") or Path.home() / ".cache" / "zkpot" / "components")
NODE_MODULES = FOLDER / "node_modules"
_STOP_S = 30.0
_PORTS = 1000
_FIRST_PORT = 10_000 + _PORTS * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""Each worker has ports of its own, below those that the kernel gives to whoever asks for any."""
_tries = itertools.count(os.getpid())


def missing(what: str) -> None:
    """Fails the test where everything must be there (CI=true); elsewhere skips it."""
    text = f"{what} is missing: run scripts/install-components"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def program(name: str, *more: Path) -> Path:
    """The program of that name on PATH, in the system's folders or at one of `more`."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    for path in (*([Path(found)] if found else []), *more):
        if path.exists():
            return path
    missing(name)
    raise AssertionError


def free_port() -> int:
    """One that nobody takes, neither before its server is there nor while that is away."""
    while True:
        port = _FIRST_PORT + next(_tries) % _PORTS
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Server:
    """A child process that is started, killed and stopped by its pid, and ends with the tests."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self.cwd = cwd
        self.environment = dict(environment or {})
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, answers: Callable[[], bool], timeout_s: float = 30) -> None:
        with self.log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", LEASH, str(os.getpid()), *self.command],
                cwd=self.cwd,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + timeout_s
        while not answers():
            if self.popen.poll() is not None or time.monotonic() > end:
                text = self.log.read_text(errors="replace")[-2000:]
                self.stop()
                raise AssertionError(f"{self.command[0]} does not answer:\n{text}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.popen is None:
            return
        self.popen.terminate()
        try:
            self.popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.popen = None

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()
        self.popen = None


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def running(server: Server, port: int) -> Iterator[Server]:
    server.start(lambda: listens(port))
    try:
        yield server
    finally:
        server.stop()
