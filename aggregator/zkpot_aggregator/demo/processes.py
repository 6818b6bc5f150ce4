"""The demonstration's processes: one aggregator, and one agent per device."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from zkpot.errors import ExitCode, Fatal

STOP_SECONDS = 10.0
LOOK_SECONDS = 1.0
LEASH = "zkpot.leash"


@dataclass
class Process:
    """A child with its log file."""

    name: str
    popen: subprocess.Popen[str]
    log: Path

    def tail(self, lines: int = 5) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def start(name: str, module: str, arguments: list[str], log: Path) -> Iterator[Process]:
    """Runs `python -m module`, whose standard output is ours to read; as `start_program`."""
    words = [sys.executable, "-m", module, *arguments]
    with _log_file(log) as file, _running(words, subprocess.PIPE, file, {}) as popen:
        yield Process(name, popen, log)


@contextmanager
def start_program(
    name: str, words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Runs a program, named by its path, and stops it by its pid, whichever way the end comes.

    The child leads a session of its own, so that Ctrl-C reaches nobody but us, and is stopped
    by the kernel if we are killed. The thread that starts it must outlive it: the kernel takes
    that thread for their parent.
    """
    with _log_file(log) as file, _running(words, file, file, environment or {}) as popen:
        yield Process(name, popen, log)


def _log_file(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")


@contextmanager
def _running(
    words: Sequence[str], output: int | IO[str], errors: IO[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    popen = subprocess.Popen(
        [sys.executable, "-m", LEASH, str(os.getpid()), *words],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )
    try:
        yield popen
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        if popen.stdout is not None:
            popen.stdout.close()


class Events:
    """The JSON lines of a process, read in a thread so that nobody waits for ever."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float, meanwhile: Callable[[], None]) -> dict[str, Any] | None:
        """The next event; None at the end. Raises `Fatal` if nothing comes in time.

        Calls `meanwhile` about once a second; what it raises ends the wait.
        """
        end = time.monotonic() + timeout_s
        while True:
            ended = self._process.popen.poll() is not None
            try:
                line = self._lines.get(timeout=LOOK_SECONDS)
                break
            except queue.Empty:
                if ended:  # before its last line could be missed
                    return None  # whatever keeps its output open will not write to it
                meanwhile()
                if time.monotonic() < end:
                    continue
                raise Fatal(
                    ExitCode.FAILURE, f"the {self._process.name} was silent for {timeout_s:.0f} s"
                ) from None
        if line is None:
            return None
        event: dict[str, Any] = json.loads(line)
        return event

    def _read(self) -> None:
        assert self._process.popen.stdout is not None
        for line in self._process.popen.stdout:
            self._lines.put(line)
        self._lines.put(None)
