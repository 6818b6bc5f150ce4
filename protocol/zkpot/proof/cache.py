"""Files that are expensive to make, kept in a directory by what determines them.

An entry is a folder named by a digest; it appears whole or not at all, and its manifest
holds the SHA-256 of every file. A file is checked against it before each use. An entry
that fails is made again, with a warning. A lock per entry lets several processes on one
machine share the work.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zkpot.ids import Digest

MANIFEST = "manifest.json"

_logger = logging.getLogger(__name__)


class CorruptEntryError(Exception):
    """An entry is not what its manifest says."""


def sha256_file(path: Path) -> bytes:
    """SHA-256 of a file's content, 32 bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@dataclass(frozen=True)
class Cache:
    """A directory of entries."""

    root: Path

    def entry(
        self, kind: str, key: Digest, files: tuple[str, ...], make: Callable[[Path], None]
    ) -> Path:
        """The folder of entry (`kind`, `key`), in which `files` are as they were made.

        `make` fills an empty folder when there is no such entry or one of `files` is
        corrupt; what it raises goes through and leaves no entry behind.
        """
        folder = self.root / f"{kind}-{key.hex()}"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self.root / f"{folder.name}.lock"):
            if folder.exists():
                try:
                    _check(folder, files)
                except CorruptEntryError as error:
                    _logger.warning("cache entry %s is corrupt, making it again: %s", folder, error)
                    shutil.rmtree(folder)
                else:
                    return folder
            _build(folder, files, make)
        return folder


def _build(folder: Path, files: tuple[str, ...], make: Callable[[Path], None]) -> None:
    for left_over in folder.parent.glob(f"{folder.name}.part-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        make(part)
        digests = {path.name: sha256_file(path).hex() for path in sorted(part.iterdir())}
        missing = set(files) - set(digests)
        if missing:
            raise ValueError(f"make did not write {sorted(missing)}")
        (part / MANIFEST).write_text(json.dumps(digests, indent=1, sort_keys=True))
        for path in part.iterdir():
            _sync(path)
        _sync(part)
        part.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check(folder: Path, files: tuple[str, ...]) -> None:
    try:
        digests = json.loads((folder / MANIFEST).read_bytes())
        for name in files:
            if sha256_file(folder / name).hex() != digests[name]:
                raise CorruptEntryError(f"{name} has another digest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptEntryError(f"{type(error).__name__}: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock file, waiting for whoever has it; the kernel frees it with its holder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
