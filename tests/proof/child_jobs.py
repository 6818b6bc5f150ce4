"""Jobs that misbehave, for the tests of child processes."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from zkpot.errors import Reason, Rejected
from zkpot.ids import digest
from zkpot.proof.cache import Cache
from zkpot.proof.system import Obstacle, Progress, ProvingFailed


def add(progress: Progress, left: int, right: int) -> int:
    progress("adding", 0.5)
    return left + right


def environment(progress: Progress) -> tuple[dict[str, str], list[str], int, int]:
    return dict(os.environ), sys.argv, len(os.sched_getaffinity(0)), os.nice(0)


def core_limit(progress: Progress) -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_CORE)


def print_noise(progress: Progress) -> int:
    sys.stdout.write("noise" * 1000)
    os.write(1, b"noise" * 1000)
    os.write(2, b"noise" * 1000)
    return 7


def reject(progress: Progress) -> None:
    raise Rejected(Reason.POOL_EXHAUSTED, "no samples: left")


def fail(progress: Progress) -> None:
    raise ProvingFailed(Obstacle.UNSATISFIED, "not true: really")


def crash_in_python(progress: Progress) -> None:
    raise KeyError("the weights are 1, 2, 3")


def raise_signal(progress: Progress, number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def exit_silently(progress: Progress) -> None:
    os._exit(3)


def grow(progress: Progress) -> None:
    blocks = []
    for _ in range(1000):
        blocks.append(b"x" * (1 << 20))
        time.sleep(0.001)


def reserve(progress: Progress) -> int:
    import mmap

    return len(mmap.mmap(-1, 4 << 30))


def sleep(progress: Progress, pid_file: Path, seconds: float) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    pid_file.with_suffix(".part").write_text(f"{os.getpid()} {sleeper.pid} {os.environ['TMPDIR']}")
    pid_file.with_suffix(".part").rename(pid_file)
    time.sleep(seconds)


def make_entry(progress: Progress, root: Path, log: Path) -> bytes:
    def make(folder: Path) -> None:
        with log.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write("made\n")
        time.sleep(0.5)
        (folder / "data").write_bytes(b"costly")

    folder = Cache(root).entry("test", digest("test"), ("data",), make)
    return (folder / "data").read_bytes()


def run_orphan(progress: Progress, pid_file: Path) -> None:
    """Starts a child of its own that outlives it unless it dies with its parent."""
    import asyncio

    from zkpot.proof import child

    asyncio.run(child.run(sleep, pid_file, 600.0))
