"""Writes single files so that a power loss leaves the old content or the new.

Modes are exact: the umask does not narrow them. OSError means that nothing has changed.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PRIVATE = 0o600
"""For the owner alone."""

SHARED = 0o640
"""For the group of the folder too."""

WORLD = 0o644
"""For everybody."""

TEMPORARY = ".tmp-"
"""Start of the name of a file that is not finished, see `remove_unfinished`."""


def replace_file(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Writes `data` beside `path` and moves it there."""
    with _written_beside(path, data, mode) as temporary:
        temporary.replace(path)
    sync_directory(path.parent)


def create_secret_file(path: Path, data: bytes) -> None:
    """Writes `data` to a new file that its owner alone may read, in a folder made if need be.

    Raises FileExistsError rather than replace one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _written_beside(path, data, PRIVATE) as temporary:
        path.hardlink_to(temporary)
        temporary.unlink()
    sync_directory(path.parent)


def loose_mode(path: Path) -> int:
    """The permissions of a secret file if they let others read it, 0 if they keep them out.

    systemd hands copies of secrets over with an access list, which shows as permissions of the
    group, in a folder that keeps everybody else out.
    """
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    handed_over = given is not None and path.parent == Path(given)
    mode = path.stat().st_mode & 0o777
    return mode if mode & (0o007 if handed_over else 0o077) else 0


def remove_unfinished(folder: Path) -> None:
    """Deletes what was left unfinished in `folder` when it was cut off; nobody may write there."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink()


def sync_directory(directory: Path) -> None:
    """Makes names created, moved or deleted in `directory` survive a power loss."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A temporary file with `data`, which is deleted if what is done with it fails."""
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        _write_new(temporary, data, mode)
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_new(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
