"""A content store in a directory: one file per block, one empty file per pin.

Blocks lie in folders named by the two characters before the last, as Kubo does it: the last
one carries only three bits. Every file appears whole or not at all.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from zkpot.cid import BLOCK_BYTES, Cid, cid_from_text, cid_text, is_node, parse_manifest
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot.files import TEMPORARY, WORLD, remove_unfinished, replace_file, sync_directory

_logger = logging.getLogger(__name__)


class DirectoryStore:
    """A `PrunedStore` under `root`; made on first use. One process at a time may write."""

    def __init__(self, root: Path) -> None:
        self._blocks = root / "blocks"
        self._pins = root / "pins"
        self._changing = Lock()
        self._put_meanwhile: set[Cid] | None = None
        """Blocks put since the collection began that is under way, if one is."""

    def put(self, cid: Cid, block: bytes) -> None:
        """See `ContentStore.put`. Replaces a damaged block."""
        path = self._path(cid)
        with self._changing, _storing(path):
            if self._put_meanwhile is not None:
                self._put_meanwhile.add(cid)
            if path.exists() and path.read_bytes() == block:
                return
            _make_directory(path.parent)
            replace_file(path, block, WORLD)

    def get(self, cid: Cid) -> bytes:
        """See `ContentStore.get`; of a file that is no block, no more than shows that."""
        try:
            with self._path(cid).open("rb") as file:
                return file.read(BLOCK_BYTES + 1)
        except FileNotFoundError as error:
            raise Rejected(Reason.NOT_FOUND, cid_text(cid)) from error
        except OSError as error:
            raise Transient(f"cannot read {self._path(cid)}: {error}") from error

    def has(self, cid: Cid) -> bool:
        """See `ContentStore.has`."""
        return self._path(cid).exists()

    def pin(self, root: Cid) -> None:
        """See `ContentStore.pin`."""
        pinned = self.pins()
        if root in pinned:
            return
        for cid in self._reachable([root], stop=pinned):
            if not self.has(cid):
                raise Rejected(Reason.NOT_FOUND, f"{cid_text(cid)}, needed by {cid_text(root)}")
        path = self._pins / cid_text(root)
        with _storing(path):
            _make_directory(self._pins)
            replace_file(path, b"", WORLD)

    def unpin(self, root: Cid) -> None:
        """See `ContentStore.unpin`."""
        path = self._pins / cid_text(root)
        with _storing(path):
            if path.exists():
                path.unlink()
                sync_directory(self._pins)

    def pins(self) -> frozenset[Cid]:
        """See `ContentStore.pins`."""
        return frozenset(cid for cid, _ in _entries(self._pins))

    def collect_garbage(self) -> int:
        """See `PrunedStore.collect_garbage`; removes unfinished files, too."""
        spared: set[Cid] = set()
        self._put_meanwhile = spared
        try:
            kept = set(self._reachable(self.pins(), stop=frozenset()))
            removed = sum(self._sweep(folder, kept, spared) for folder in _folders(self._blocks))
        finally:
            self._put_meanwhile = None
        _logger.info("collected %d blocks, kept %d", removed, len(kept))
        return removed

    def _sweep(self, folder: Path, kept: set[Cid], spared: set[Cid]) -> int:
        """Deletes the rest of one folder, while nobody puts; returns how many."""
        with self._changing, _storing(folder):
            remove_unfinished(folder)
            old = [path for cid, path in _entries(folder) if not (cid in kept or cid in spared)]
            for path in old:
                path.unlink()
            if old:
                sync_directory(folder)
        return len(old)

    def _reachable(self, roots: list[Cid] | frozenset[Cid], stop: frozenset[Cid]) -> Iterator[Cid]:
        """Every block under `roots`; objects in `stop` are not looked into."""
        seen: set[Cid] = set()
        waiting = list(roots)
        while waiting:
            cid = waiting.pop()
            if cid in seen:
                continue
            seen.add(cid)
            yield cid
            if is_node(cid) and cid not in stop:
                manifest = parse_manifest(cid, self.get(cid))
                waiting.extend(manifest.leaves + manifest.references)

    def _path(self, cid: Cid) -> Path:
        name = cid_text(cid)
        return self._blocks / name[-3:-1] / name


def _entries(folder: Path) -> Iterator[tuple[Cid, Path]]:
    if not folder.exists():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(TEMPORARY):
            continue
        try:
            cid = cid_from_text(path.name)
        except Rejected as error:
            raise Fatal(
                ExitCode.STATE, f"{path} is not this program's: move it elsewhere"
            ) from error
        yield cid, path


def _folders(blocks: Path) -> list[Path]:
    return sorted(blocks.iterdir()) if blocks.exists() else []


def _make_directory(path: Path) -> None:
    """Creates `path` and its parents so that their names survive a power loss too."""
    if path.exists():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Transient(f"cannot write {path}: {error}") from error
