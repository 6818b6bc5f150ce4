"""Runs the demonstration as a user does: as a process, with a directory."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("zkpot_prover")

WAIT_S = 900
"""For what hangs: a small demonstration takes about 10 s on two idle cores."""

PATIENCE_S = 200
"""The deadline of each step where everybody answers: nobody is too late on a busy machine."""

QUICK = ("--devices", "3", "--rounds", "2", "--batch", "20")


@dataclass(frozen=True)
class Outcome:
    """A demonstration that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> dict[str, Any]:
        """What it printed, which must be JSON and nothing else."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


@dataclass(frozen=True)
class Demo:
    """The command with a directory of its own."""

    directory: Path
    cache: Path

    def command(self, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "zkpot_aggregator", "demo", "--proof-system", "sumcheck"),
            *("--json", "--dir", str(self.directory), "--deadline-s", str(PATIENCE_S), *options),
        ]

    def run(self, *options: str) -> Outcome:
        """To its end."""
        with self.started(*options) as process:
            return ended(process)

    @contextmanager
    def started(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Under way; whatever is left of it is stopped, children first."""
        process = subprocess.Popen(
            self.command(*options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"XDG_CACHE_HOME": str(self.cache)},
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def wait_for(self, phase: str, number: int, process: subprocess.Popen[str]) -> None:
        """Returns once the aggregator has entered a phase of a round."""
        log, wanted = self.directory / "aggregator" / "log", f"driver: {phase}, round {number}"
        end = time.monotonic() + WAIT_S
        while not (log.exists() and wanted in log.read_text()):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < end, f"no {wanted!r} within {WAIT_S} s"
            time.sleep(0.005)

    def processes(self) -> list[tuple[int, list[str]]]:
        """The processes, with their command lines, that have this directory in it."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (OSError, UnicodeDecodeError):
                continue
            if any(word.startswith(f"{self.directory}/") for word in words):
                found.append((int(folder.name), words))
        return found

    def commands(self) -> set[tuple[str, ...]]:
        """What runs: a process that has just been forked bears its parent's command line."""
        return {tuple(words) for _, words in self.processes()}

    def pid_of(self, module: str, place: str) -> int:
        """The process of this demonstration that runs `module` with a configuration in `place`."""
        found = [
            pid
            for pid, words in self.processes()
            if any(word.startswith(f"{self.directory}/{place}") for word in words)
            and any(word.partition(".")[0] == module for word in words)
        ]
        (first,) = (pid for pid in found if parent_of(pid) not in found)
        return first

    def wait_for_silence(self) -> None:
        """Returns once no process of this demonstration is left."""
        end = time.monotonic() + WAIT_S
        while left := self.processes():
            assert time.monotonic() < end, left
            time.sleep(0.05)


def parent_of(pid: int) -> int:
    """0 if it has ended."""
    try:
        # The second word behind the name, which may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ended(process: subprocess.Popen[str]) -> Outcome:
    """Waits for the end."""
    stdout, stderr = process.communicate(timeout=WAIT_S)
    return Outcome(process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def demo(tmp_path: Path, cache: Path) -> Demo:
    return Demo(tmp_path / "demo", cache)


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Callable[[], tuple[Demo, Outcome]]:
    """One quick demonstration, run once and only looked at."""
    made: list[tuple[Demo, Outcome]] = []

    def get() -> tuple[Demo, Outcome]:
        if not made:
            demo = Demo(tmp_path_factory.mktemp("quick") / "demo", cache)
            made.append((demo, demo.run(*QUICK)))
        return made[0]

    return get
