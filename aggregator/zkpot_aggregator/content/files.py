"""Writes single files so that a power loss leaves the old content or the new."""

import contextlib
import os
import secrets
from pathlib import Path

TEMPORARY = ".tmp-"
"""Start of the name of a file that is not finished; such files may be deleted."""


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes `data` beside `path`, fsyncs it, moves it there and fsyncs the directory.

    Raises OSError, and then nothing has changed at `path`.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes names created, moved or deleted in `directory` survive a power loss."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
