"""Disks that can be full, and clocks that can jump, for the processes of one component."""

import atexit
import contextlib
import functools
import json
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.real.components import missing

DISK_BYTES = 256 << 20
DAY_S = 86_400
_OFFSET = struct.Struct("=q")
_WHOLE_S = 2.0


class Disk:
    """A small file system in memory at `folder`, which must be empty or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Needs root; says so if we are not allowed to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs"]
        done = subprocess.run(["mount", *options, self.folder], check=False, capture_output=True)
        if done.returncode:
            missing("the permission to mount a tmpfs")
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", self.folder], check=True)

    def fill(self) -> None:
        """Leaves not one byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        """Gives the space back."""
        self._filler.unlink(missing_ok=True)


class Clock:
    """The wall clock of processes started with `environment`: later by what `file` says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(bytes(_OFFSET.size))

    @property
    def environment(self) -> dict[str, str]:
        """See clock.c."""
        return {"LD_PRELOAD": str(_library()), "ZKPOT_TEST_CLOCK": str(self._file)}

    def set(self, offset_s: int) -> None:
        """Shows a time `offset_s` later than the true one, from now on."""
        with self._file.open("r+b") as file:
            file.write(_OFFSET.pack(offset_s))


@functools.cache
def _library() -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        missing("a C compiler")
    made = Path(tempfile.mkdtemp(prefix="zkpot-clock-")) / "clock.so"
    atexit.register(shutil.rmtree, made.parent, ignore_errors=True)
    source = Path(__file__).with_name("clock.c")
    subprocess.run(
        [str(compiler), "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", made, source],
        check=True,
    )
    return made


class StateFile:
    """What anvil writes its state to, not whole or not at all: `kill -9` can tear it.

    A real node's database survives that. Here the copy from just before takes its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy = path.parent.with_name("state.copy")

    def save(self) -> None:
        """Copies it as soon as it is whole."""
        end = time.monotonic() + _WHOLE_S
        while time.monotonic() < end:
            data = self.path.read_bytes() if self.path.exists() else b""
            if _is_json(data):
                self._copy.write_bytes(data)
                return
            time.sleep(0.01)

    def mend(self) -> None:
        """Puts the copy back if it is torn."""
        torn = self.path.exists() and not _is_json(self.path.read_bytes())
        if torn and self._copy.exists():
            self.path.write_bytes(self._copy.read_bytes())


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
