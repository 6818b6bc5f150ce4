"""The global model on the device, swapped in whole."""

import os
from pathlib import Path

MODEL_FILE = "global-model.cbor"


def replace_model(folder: Path, data: bytes) -> Path:
    """Writes the encoded global model beside the old one and renames it into place."""
    path = folder / MODEL_FILE
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return path
