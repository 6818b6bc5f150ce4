"""Ending with the process that started us, which Linux does if asked: prctl(2)."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
"""What it sets outlives execve(2), but not fork(2)."""


def tie_to_parent(which: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A call that has the kernel send this signal when the thread that started us ends.

    Everything it needs is loaded already, so that it may be made between fork and exec. It
    raises `OSError` if the kernel refuses. A parent that ended before is not noticed.
    """
    library = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        if library.prctl(_PR_SET_PDEATHSIG, which, 0, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return tie
