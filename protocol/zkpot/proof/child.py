"""Runs one job in a fresh process, within limits, so that nothing of it can hurt the caller.

The job and its arguments travel through a pipe: nothing secret stands in a command line or
an environment, of which the child gets only the variables it needs. What the child and its
libraries print is dropped. The child dies with its caller, with its limits, and with the
task that awaits it. The thread that runs the event loop must outlive its children: the
kernel takes that thread for their parent.

Memory is watched from outside, as resident memory that cannot be paged back from a file.
RLIMIT_AS would count address space, of which the prover takes 1.3 to 1.6 times what it uses
(743 MB for 468 MB), and would end it by a failed allocation that looks like any other crash.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple, cast

from zkpot.errors import Reason, Rejected
from zkpot.proof.scratch import scratch_folder
from zkpot.proof.system import Obstacle, Progress, ProvingFailed

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

WATCH_SECONDS = 0.02
"""Between two looks at the child's memory: a prover gains some 10 MB in that time."""

HEADER_BYTES = 8
MAX_MESSAGE_BYTES = 1 << 30

_PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ"}
    # Which GPU an `ezkl` program uses, and how (see `ezkl.binary`).
    | {"CUDA_VISIBLE_DEVICES", "ICICLE_BACKEND_INSTALL_DIR", "ENABLE_ICICLE_GPU", "ICICLE_SMALL_K"}
)
_PASSED_ON_PREFIX = "COVERAGE_"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a job may use; None means no limit.

    `cores` sets both the prover's threads and the processors it may run on, `nice` is added
    to the caller's own niceness.
    """

    memory_bytes: int | None = None
    cores: int | None = None
    nice: int = 0
    wall_seconds: float | None = None


NO_LIMITS = Limits()


@dataclass
class _Fate:
    """Why we ended the child ourselves, if we did."""

    out_of_memory: bool = False
    peak_bytes: int = field(default=0)


async def run(
    job: Callable[[Progress, *Ts], R],
    *args: *Ts,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> R:
    """The result of `job(progress, *args)`; `job` is a function at the top of a module.

    Raises what the job raised if it was `Rejected` or `ProvingFailed`; `ProvingFailed` with
    OUT_OF_MEMORY, TIMEOUT or CRASHED if the child did not live to say. A cancelled call has
    killed its child before it returns.
    """
    payload = pickle.dumps((job, args))
    with scratch_folder() as scratch:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "zkpot.proof.child_entry",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(limits, scratch),
            start_new_session=True,
        )
        fate = _Fate()
        watch = asyncio.create_task(_watch_memory(process, limits.memory_bytes, fate))
        try:
            async with asyncio.timeout(limits.wall_seconds):
                answer = await _converse(process, payload, progress)
                status = await process.wait()
        except TimeoutError:
            raise ProvingFailed(
                Obstacle.TIMEOUT, f"not done within {limits.wall_seconds} s"
            ) from None
        finally:
            watch.cancel()
            _kill(process)
            await asyncio.shield(process.wait())
    _logger.debug("child ended with %d, peak %d MiB", status, fate.peak_bytes >> 20)
    if fate.out_of_memory:
        raise ProvingFailed(
            Obstacle.OUT_OF_MEMORY, f"more than the limit of {limits.memory_bytes} bytes"
        )
    return cast("R", _result(answer, status))


def _result(answer: tuple[Any, ...] | None, status: int) -> object:
    match answer:
        case ("result", value):
            return value
        case ("rejected", code, detail):
            raise Rejected(Reason(code), detail)
        case ("failed", obstacle, detail):
            raise ProvingFailed(Obstacle(obstacle), detail)
        case ("crashed", detail):
            raise ProvingFailed(Obstacle.CRASHED, detail)
    if status == -signal.SIGKILL:
        raise ProvingFailed(
            Obstacle.OUT_OF_MEMORY, "killed by SIGKILL, as the kernel does without memory"
        )
    if status < 0:
        raise ProvingFailed(Obstacle.CRASHED, f"killed by {signal.Signals(-status).name}")
    raise ProvingFailed(Obstacle.CRASHED, f"ended with status {status} and no result")


async def _converse(
    process: asyncio.subprocess.Process, payload: bytes, progress: Progress | None
) -> tuple[Any, ...] | None:
    """Hands the job over and passes progress on; the last message, None if there was none."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(payload)
        await process.stdin.drain()
    process.stdin.close()
    answer: tuple[Any, ...] | None = None
    while True:
        try:
            header = await process.stdout.readexactly(HEADER_BYTES)
            size = int.from_bytes(header, "big")
            if size > MAX_MESSAGE_BYTES:
                return None
            message = pickle.loads(await process.stdout.readexactly(size))  # noqa: S301  (our own child)
        except asyncio.IncompleteReadError:
            return answer
        if message[0] == "progress":
            if progress is not None:
                progress(message[1], message[2])
        else:
            answer = message


async def _watch_memory(
    process: asyncio.subprocess.Process, limit: int | None, fate: _Fate
) -> None:
    while (used := unreclaimable_bytes(process.pid)) is not None:
        fate.peak_bytes = max(fate.peak_bytes, used)
        if limit is not None and used > limit:
            fate.out_of_memory = True
            _kill(process)
            return
        await asyncio.sleep(WATCH_SECONDS)


def unreclaimable_bytes(pid: int) -> int | None:
    """Resident memory less what is mapped from files; None if the process is gone.

    With that of the processes that its main thread has started.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    lines = (line.split() for line in status.splitlines())
    kib = sum(int(words[1]) for words in lines if words[0] in {"RssAnon:", "RssShmem:"})
    return kib * 1024 + sum(unreclaimable_bytes(child) or 0 for child in _children(pid))


def _children(pid: int) -> list[int]:
    """Those that its main thread has started; none where the kernel does not list them."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _kill(process: asyncio.subprocess.Process) -> None:
    """Ends the child and whatever it started: it leads a process group of its own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _environment(limits: Limits, scratch: Path) -> dict[str, str]:
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIX)
    }
    chosen["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    chosen["TMPDIR"] = str(scratch)
    chosen["ZKPOT_CHILD_NICE"] = str(limits.nice)
    chosen["ZKPOT_CHILD_PARENT"] = str(os.getpid())
    # Matrices here are small: more BLAS threads than cores cost several times the work.
    chosen["OPENBLAS_NUM_THREADS"] = chosen["OMP_NUM_THREADS"] = str(limits.cores or 1)
    if limits.cores is not None:
        chosen["ZKPOT_CHILD_CORES"] = chosen["RAYON_NUM_THREADS"] = str(limits.cores)
    return chosen
