"""The child's side of `child`: takes one job from standard input, answers, and ends.

Before anything else the message pipe is moved away from standard output, so that nothing
printed by a library can reach it.
"""

import os
import pickle
import resource
import sys
import threading
import traceback
from typing import Any, BinaryIO

from zkpot.parent import tie_to_parent


class _Pipe:
    """Whole messages only, whichever thread writes them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        data = pickle.dumps(message)
        with self._lock:
            self._stream.write(len(data).to_bytes(8, "big") + data)
            self._stream.flush()

    def progress(self, what: str, fraction: float) -> None:
        self.send("progress", what, fraction)


def main() -> None:
    """Runs the job; every outcome is one last message."""
    pipe = _Pipe(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    _die_with_parent()
    _restrict()
    from zkpot.errors import Rejected  # noqa: PLC0415  (after the pipe is safe)
    from zkpot.proof.system import Obstacle, ProvingFailed  # noqa: PLC0415

    try:
        job, args = pickle.load(sys.stdin.buffer)  # noqa: S301  (our own caller)
        pipe.send("result", job(pipe.progress, *args))
    except Rejected as error:
        pipe.send("rejected", int(error.reason), error.detail)
    except ProvingFailed as error:
        pipe.send("failed", str(error.obstacle), error.detail)
    except MemoryError:
        pipe.send("failed", str(Obstacle.OUT_OF_MEMORY), "an allocation failed")
    except BaseException as error:  # noqa: BLE001  (the top of a process)
        pipe.send("crashed", _where(error))


def _where(error: BaseException) -> str:
    """The kind of error and its place, without its message, which may quote a model."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _die_with_parent() -> None:
    tie_to_parent()()
    if os.getppid() != int(os.environ["ZKPOT_CHILD_PARENT"]):
        os._exit(1)


def _restrict() -> None:
    # An image of our memory would put weights on the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(int(os.environ["ZKPOT_CHILD_NICE"]))
    wanted = os.environ.get("ZKPOT_CHILD_CORES")
    if wanted is not None:
        # Children that run side by side start at different processors.
        allowed = sorted(os.sched_getaffinity(0))
        start = os.getpid() % len(allowed)
        rotated = allowed[start:] + allowed[:start]
        os.sched_setaffinity(0, rotated[: max(int(wanted), 1)])


if __name__ == "__main__":
    main()
