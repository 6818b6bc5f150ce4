"""What install wrote, by path and hash: the only things uninstall may remove."""

import hashlib
import json
from pathlib import Path
from typing import Any

from zkpot.errors import ExitCode, Fatal
from zkpot.files import WORLD, remove_unfinished, replace_file

MANIFEST = "etc/zkpot/install-manifest.json"
VERSION = 1


class Manifest:
    """Paths are relative to the root; it is saved before what it names is made or replaced.

    `replaced` has the hashes of files that an install is about to replace: until it has ended,
    either content is ours.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / MANIFEST
        self.files: dict[str, str] = {}
        self.replaced: dict[str, str] = {}
        self.folders: list[str] = []

    @property
    def exists(self) -> bool:
        """Whether anything was installed under the root."""
        return self._path.exists()

    @classmethod
    def load(cls, root: Path) -> "Manifest":
        """The manifest under `root`, or an empty one; raises `Fatal` (STATE) for a corrupt one."""
        manifest = cls(root)
        try:
            text = manifest._path.read_text()
        except FileNotFoundError:
            return manifest
        except OSError as error:
            raise Fatal(ExitCode.STATE, f"cannot read {manifest._path}: {error}") from error
        try:
            manifest._take(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise Fatal(
                ExitCode.STATE,
                f"{manifest._path} is corrupt: restore it, or remove the files by hand",
            ) from error
        return manifest

    def _take(self, table: dict[str, Any]) -> None:
        if table["version"] != VERSION:
            raise ValueError("another version")
        self.files = {_inside(path): str(each) for path, each in table["files"].items()}
        replaced = table.get("replaced", {})
        self.replaced = {_inside(path): str(each) for path, each in replaced.items()}
        self.folders = [_inside(path) for path in table["folders"]]

    def save(self) -> None:
        """Writes it to disk."""
        table = {
            "version": VERSION,
            "files": self.files,
            "replaced": self.replaced,
            "folders": self.folders,
        }
        replace_file(self._path, json.dumps(table, indent=2).encode() + b"\n", WORLD)

    def wrote(self, path: str, found: str | None) -> bool:
        """Whether `found`, the hash of what lies at `path`, is of something install wrote."""
        return found is not None and found in (self.files.get(path), self.replaced.get(path))

    def write(self, path: str, data: bytes, mode: int) -> None:
        """Writes a file, which is ours before and afterwards."""
        target, wanted = self._root / path, digest(data)
        self.make_folder(str(Path(path).parent), 0o755)
        found = file_digest(target)
        if found is not None:
            self.replaced[path] = found
        self.files[path] = wanted
        self.save()
        replace_file(target, data, mode)

    def make_folder(self, path: str, mode: int) -> None:
        """Makes a folder and what is missing above it, never wider than `mode`."""
        missing = [
            each
            for each in (Path(path), *Path(path).parents)
            if str(each) != "." and not (self._root / each).is_dir()
        ]
        self.folders += [str(each) for each in reversed(missing) if str(each) not in self.folders]
        if missing and self._path.parent.is_dir():
            self.save()
        for each in reversed(missing):
            target, wanted = self._root / each, mode if str(each) == path else 0o755
            target.mkdir(wanted)
            target.chmod(wanted)

    def tidy(self) -> None:
        """Removes what an earlier call left half written in the folders that are ours alone."""
        for path in self.folders:
            if (self._root / path).is_dir():
                remove_unfinished(self._root / path)


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str | None:
    """The digest of a file; None if it is not there, no digest if it is no file."""
    try:
        return digest(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        return "a folder"


def _inside(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"{path!r} leads out of the root")
    return path
