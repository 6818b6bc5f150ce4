"""Becomes another program that the kernel stops when the process that started it is gone.

`python -m zkpot_aggregator.demo.leash PARENT WORD...` runs the command WORD... under the same
pid. Only what the demonstration starts is tied to it like this: whoever starts an agent or an
aggregator by hand starts it without.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2); what it sets outlives execve(2)."""


def main(arguments: list[str]) -> None:
    """Ties this process to `PARENT`, its parent's pid, then becomes the command."""
    parent, *command = arguments
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # It may have died before the kernel was asked.
    if os.getppid() == int(parent):
        os.execv(command[0], command)  # noqa: S606  (no shell, on purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
