"""What install wrote, by path and hash: the only things uninstall may remove."""

import hashlib
import json
from pathlib import Path
from typing import Any

from zkpot.errors import ExitCode, Fatal
from zkpot.files import WORLD, replace_file

MANIFEST = "etc/zkpot/install-manifest.json"
VERSION = 1


class Manifest:
    """Paths are relative to the root; it is saved before each file it names is written."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / MANIFEST
        self.files: dict[str, str] = {}
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
        self.folders = [_inside(path) for path in table["folders"]]

    def save(self) -> None:
        """Writes it to disk."""
        table = {"version": VERSION, "files": self.files, "folders": self.folders}
        replace_file(self._path, json.dumps(table, indent=2).encode() + b"\n", WORLD)

    def make_folder(self, path: str, mode: int) -> None:
        """Makes a folder and what is missing above it, and remembers what it made."""
        missing = [
            each
            for each in (Path(path), *Path(path).parents)
            if str(each) != "." and not (self._root / each).is_dir()
        ]
        for each in reversed(missing):
            target = self._root / each
            target.mkdir()
            target.chmod(mode if str(each) == path else 0o755)
            self.folders.append(str(each))


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str | None:
    """The digest of a file; None if it is not there."""
    try:
        return digest(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _inside(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"{path!r} leads out of the root")
    return path
