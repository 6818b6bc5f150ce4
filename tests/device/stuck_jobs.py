"""A child process that reports progress for a while and then hangs."""

import time
from pathlib import Path

from zkpot.proof.system import Progress

STEPS = 5


def hang_until(progress: Progress, released: str) -> None:
    """Some steps, then silence until the file `released` is there."""
    for step in range(STEPS):
        progress("stepping", (step + 1) / 10)
        time.sleep(0.05)
    while not Path(released).exists():
        time.sleep(0.02)
