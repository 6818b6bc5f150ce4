"""Private folders for child processes: models pass through them on the way to the prover.

They lie in memory where possible, so that weights do not reach a disk. Whoever makes one
removes it, because a killed child cannot, and holds a lock on it meanwhile: folders that
nobody holds were left by a caller that was itself killed, and the next one removes them.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (only ever private folders inside it)
PREFIX = "zkpot-scratch-"

GRACE_SECONDS = 60.0
"""A younger folder may not be locked yet by the process that has just made it."""


@contextlib.contextmanager
def scratch_folder(base: Path | None = None) -> Iterator[Path]:
    """A folder of mode 0700 in `base`, by default in memory, that is gone afterwards."""
    if base is None:
        in_memory = os.access(SHARED_MEMORY, os.W_OK | os.X_OK)
        base = SHARED_MEMORY if in_memory else Path(tempfile.gettempdir())
    _sweep(base)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _sweep(base: Path) -> None:
    for path in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            age = time.time() - found.st_mtime
            if found.st_uid != os.getuid() or age < GRACE_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
