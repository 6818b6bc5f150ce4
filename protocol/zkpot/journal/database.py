"""Opening the journal's SQLite file: who may, which version, in which mode.

Order: lock, form of the file, contents, version. A file that is corrupt, foreign, newer or
readable by others is refused by name and left as it is. A new database is made beside its
place and moved there whole, so an empty file is damage and never a beginning.
"""

import errno
import fcntl
import os
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from zkpot.errors import ExitCode, Fatal, Transient

_SCHEMAS = ("schema_v1.sql",)
"""Position n holds the step from version n to n+1."""

VERSION = len(_SCHEMAS)
_APPLICATION_ID = 0x7A6B706F
"""`zkpo`: tells a journal from any other SQLite file."""

PAGE_BYTES = 4096


class Lock:
    """Holds `<path>.lock` for this process; the kernel lets go when the process dies."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._handle, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._handle)
            # Transient: a service that somebody else keeps from starting starts when that one ends.
            raise Transient(f"{path} is in use by another process (pid {holder})") from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next process in. The lock file stays: removing it would race."""
        os.close(self._handle)


def connect(path: Path, max_bytes: int | None) -> sqlite3.Connection:
    """Opens or creates the database at `path`, whose lock the caller holds; `Fatal` if refused."""
    try:
        if not path.exists():
            _create(path)
        _check_file(path)
        connection = _open(path)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except OSError as error:
        raise unusable(error, path) from error
    try:
        _check_contents(connection, path)
        _migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        if max_bytes is not None:
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // PAGE_BYTES)}")
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except Fatal:
        connection.close()
        raise
    return connection


def translated(error: sqlite3.Error, path: Path) -> Fatal | Transient:
    """What an SQLite failure means for the caller; the transaction is already undone."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return Transient(f"no room to write {path}: free disk space or raise its limit ({error})")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM):
        return Transient(f"{path}: {error}")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Fatal(ExitCode.STATE, f"{path} is corrupt: restore it from a backup ({error})")
    return Fatal(ExitCode.STATE, f"{path}: {error}")


def unusable(error: OSError, path: Path) -> Fatal | Transient:
    """What it means that the files of the journal cannot be opened or made."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Transient(f"no room to make {path}: free disk space ({error})")
    return Fatal(ExitCode.STATE, f"cannot open {path}: {error}")


def _open(path: Path) -> sqlite3.Connection:
    # One connection for all threads: the journal's own lock orders them.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _create(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    if log.exists():
        raise Fatal(ExitCode.STATE, f"{path} is missing but {log} is there: restore both")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(_open(fresh)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        _migrate(connection)
    _sync(fresh)
    fresh.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_file(path: Path) -> None:
    status = path.stat()
    if status.st_mode & 0o077:
        raise Fatal(
            ExitCode.STATE, f"{path} has mode {status.st_mode & 0o777:04o}: run chmod 600 {path}"
        )
    if status.st_size == 0:
        raise Fatal(ExitCode.STATE, f"{path} is empty, so it is corrupt: restore it from a backup")


def _check_contents(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != _APPLICATION_ID:
        raise Fatal(ExitCode.STATE, f"{path} is not a journal of this program")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise Fatal(
            ExitCode.STATE,
            f"{path} has version {version}, this program knows {VERSION}: install a newer one",
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise Fatal(ExitCode.STATE, f"{path} is corrupt: restore it from a backup ({verdict})")


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    folder = resources.files(__package__)
    steps = "\n".join((folder / name).read_text() for name in _SCHEMAS[version:])
    try:
        connection.executescript(f"BEGIN;\n{steps}\nPRAGMA user_version = {VERSION};\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
