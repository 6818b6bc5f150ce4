"""Becomes another program that the kernel stops when the process that started it is gone.

`python -m zkpot.leash PARENT WORD...` runs the command WORD... under the same
pid. Only what `demo` and `up` start is tied to them like this: whoever starts an agent or an
aggregator by hand starts it without.
"""

import os
import signal
import sys

from zkpot.parent import tie_to_parent


def main(arguments: list[str]) -> None:
    """Ties this process to `PARENT`, its parent's pid, then becomes the command."""
    parent, *command = arguments
    tie_to_parent(signal.SIGTERM)()
    # It may have died before the kernel was asked.
    if os.getppid() == int(parent):
        os.execv(command[0], command)  # noqa: S606  (no shell, on purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
