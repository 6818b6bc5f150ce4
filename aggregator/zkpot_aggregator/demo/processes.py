"""The demonstration's processes: one aggregator, and one agent per device."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkpot.errors import ExitCode, Fatal

STOP_SECONDS = 10.0


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
    """Runs `python -m module` and stops it by its pid at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        popen = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        yield Process(name, popen, log)
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

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event; None at the end. Raises `Fatal` if nothing comes in time."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
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
