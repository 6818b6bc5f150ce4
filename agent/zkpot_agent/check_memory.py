"""How much memory there is, and how much of it this process may use."""

from pathlib import Path

_MEMINFO = "proc/meminfo"


def memory_available_mb(root: Path = Path("/")) -> int:
    """What new programs can have without swapping; raises `OSError` if the kernel does not say."""
    path = root / _MEMINFO
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    raise OSError(f"{path} has no MemAvailable")


def memory_limit_mb(root: Path = Path("/")) -> int | None:
    """The tightest memory.max of our control groups (cgroup v2); None without one."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    top = root / "sys/fs/cgroup"
    limits = []
    for line in lines:
        number, _, path = line.split(":", 2)
        if number != "0":
            continue
        folder = top / path.lstrip("/")
        for each in (folder, *folder.parents):
            if not each.is_relative_to(top):
                break
            try:
                text = (each / "memory.max").read_text().strip()
            except OSError:
                continue
            if text.isdecimal():
                limits.append(int(text) >> 20)
    return min(limits, default=None)
