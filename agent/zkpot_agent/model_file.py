"""Files on the device that others read, swapped in whole."""

import os
from pathlib import Path

MODEL_FILE = "global-model.cbor"

PRIVATE = 0o600
"""For the service alone."""

SHARED = 0o640
"""For the group of the folder too."""

WORLD = 0o644
"""For everybody."""


def replace_model(folder: Path, data: bytes) -> Path:
    """Writes the encoded global model beside the old one and renames it into place."""
    return replace_file(folder / MODEL_FILE, data)


def replace_file(path: Path, data: bytes, mode: int = PRIVATE) -> Path:
    """Writes `path` with `mode`; whoever reads it sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return path
