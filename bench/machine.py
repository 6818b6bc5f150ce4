"""What a measurement was made on, without naming the machine."""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Architecture, processor, usable cores, memory, Python."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.machine()}, {_processor()}, {cores} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    """As the kernel names it; the boards of ARM devices name themselves elsewhere."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text().rstrip("\0")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown processor"
