"""A limit on the memory of a process and all its children, and how much they hold.

A control group holds it where the machine lets us make one (version 2, then version 1);
elsewhere a watcher ends the tree once it holds more. What it holds is measured from outside
either way, because a group is charged only for pages that no earlier program had read in.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MB = 1_000_000
LOOK_SECONDS = 0.02
GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Sample:
    """Unix time, and bytes that the tree held then."""

    at: float
    size: int


@dataclass
class Caged:
    """A running program within its limit."""

    popen: subprocess.Popen[bytes]
    limit: int
    samples: list[Sample] = field(default_factory=list)

    def peak_mb(self, began: float = 0.0, ended: float = float("inf")) -> float:
        """The most it held in that time, in units of 10^6 bytes; 0 if nobody looked."""
        sizes = [each.size for each in self.samples if began <= each.at <= ended]
        return max(sizes, default=0) / MB


PLAIN = 'exec "$@"'
"""A shell's command: becomes its arguments."""


class ControlGroup:
    """A group of our own with a limit; `enter` is `PLAIN` within it."""

    def __init__(self, path: Path, limit_file: str, limit: int) -> None:
        self._path = path
        self.enter = f"echo $$ > '{path}/cgroup.procs' && {PLAIN}"
        path.mkdir()
        try:
            # The kernel has put the file there, unless this only looks like its groups.
            with (path / limit_file).open("r+") as file:
                file.write(str(limit))
        except OSError:
            path.rmdir()
            raise

    def remove(self) -> None:
        """Ends whoever is still in it, then the group."""
        procs = self._path / "cgroup.procs"
        for _ in range(100):
            for pid in procs.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                self._path.rmdir()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise OSError(f"{self._path} cannot be removed")


def control_group(limit: int) -> ControlGroup | None:
    """A new group that holds its members to `limit` bytes; None where we may not make one."""
    name = f"zkpot-test-{os.getpid()}-{time.monotonic_ns()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, own = line.split(":", 2)
        if number == "0":
            parents, limit_file = [GROUPS / own.lstrip("/"), GROUPS], "memory.max"
        elif "memory" in controllers.split(","):
            top = GROUPS / "memory"
            parents, limit_file = [top / own.lstrip("/"), top], "memory.limit_in_bytes"
        else:
            continue
        for parent in parents:
            with contextlib.suppress(OSError):
                return ControlGroup(parent / name, limit_file, limit)
    return None


def without_coverage() -> dict[str, str]:
    """Our environment for a program whose memory is measured: coverage's would be counted too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@contextlib.contextmanager
def caged(command: Sequence[str], limit: int, *, log: Path, group: bool = True) -> Iterator[Caged]:
    """Runs `command` with all its children within `limit` bytes, and ends them at the end.

    `group=False` leaves it to the watcher alone. Coverage is not measured inside.
    """
    made = control_group(limit) if group else None
    with log.open("ab") as file:
        popen = subprocess.Popen(
            ["/bin/sh", "-c", PLAIN if made is None else made.enter, "sh", *command],
            env=without_coverage(),
            stdin=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    inside = Caged(popen, limit)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(inside, over))
    watcher.start()
    try:
        yield inside
    finally:
        over.set()
        watcher.join()
        if popen.poll() is None:
            _end(popen.pid)
            popen.wait()
        if made is not None:
            made.remove()


def _watch(inside: Caged, over: threading.Event) -> None:
    while inside.popen.poll() is None and not over.wait(LOOK_SECONDS):
        held = held_bytes(tree(inside.popen.pid))
        inside.samples.append(Sample(time.time(), held))
        if held > inside.limit:
            _end(inside.popen.pid)


def _end(root: int) -> None:
    for pid in tree(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    parent_to_children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The second field is the program's name, which may hold spaces and parentheses.
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            parent_to_children.setdefault(int(words[1]), []).append(int(folder.name))
    found = [root]
    for pid in found:
        found += parent_to_children.get(pid, [])
    return found


def held_bytes(pids: Sequence[int]) -> int:
    """Physical memory of the processes, from above: what they share is counted once.

    Anonymous memory is each one's own. Pages of one part of one file are at most as many as
    that part has, however many processes hold some.
    """
    anonymous = 0
    part_to_pages: dict[tuple[str, ...], int] = {}
    part_to_size: dict[tuple[str, ...], int] = {}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
        except OSError:
            continue
        part: tuple[str, ...] = ()
        values: dict[str, int] = {}
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):
                part, values = tuple(words[2:5]), {}
            elif words[-1] == "kB":
                values[words[0]] = int(words[1]) * 1024
                if words[0] == "Anonymous:":
                    anonymous += values[words[0]]
                    pages = values["Rss:"] - values[words[0]]
                    part_to_pages[part] = part_to_pages.get(part, 0) + pages
                    part_to_size[part] = max(part_to_size.get(part, 0), values["Size:"])
    return anonymous + sum(min(pages, part_to_size[p]) for p, pages in part_to_pages.items())
