"""Inputs of `zkpot-agent infer`: an archive or a table, with or without labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zkpot.errors import ExitCode, Fatal
from zkpot.model import INPUT_MAX, UInt8Array
from zkpot_agent.data.files import UNREADABLE, read_table

LABEL_COLUMN = "label"


@dataclass(frozen=True)
class Inputs:
    """Values [N, features], and true labels [N] if the file has them."""

    values: UInt8Array
    labels: UInt8Array | None


def read_inputs(path: Path) -> Inputs:
    """Reads `.npz` (`inputs`, perhaps `labels`) or `.csv` (a header, perhaps `label`).

    Raises `Fatal` (CONFIG) for anything but whole numbers from 0 to 255.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    raise _unusable(path, "expected a name that ends in .npz or .csv")


def _read_npz(path: Path) -> Inputs:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            values = archive["inputs"]
            labels = archive["labels"] if "labels" in archive.files else None
    except (*UNREADABLE, AttributeError) as error:
        raise _unusable(path, f"expected an array 'inputs': {error}") from error
    if values.ndim != 2 or (labels is not None and labels.shape != values.shape[:1]):
        raise _unusable(path, f"inputs are {values.shape}, expected [N, features]")
    return Inputs(_bytes(path, values), None if labels is None else _bytes(path, labels))


def _read_csv(path: Path) -> Inputs:
    try:
        header, table = read_table(path)
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    if LABEL_COLUMN not in header:
        return Inputs(table, None)
    column = header.index(LABEL_COLUMN)
    return Inputs(np.delete(table, column, axis=1), table[:, column])


def _bytes(path: Path, values: NDArray[np.generic]) -> UInt8Array:
    if not np.issubdtype(values.dtype, np.integer):
        raise _unusable(path, f"values are {values.dtype}, expected whole numbers")
    whole = values.astype(np.int64)
    if whole.min(initial=0) < 0 or whole.max(initial=0) > INPUT_MAX:
        raise _unusable(path, f"values must lie between 0 and {INPUT_MAX}")
    return whole.astype(np.uint8)


def _unusable(path: Path, detail: str) -> Fatal:
    return Fatal(ExitCode.CONFIG, f"the input file {path} cannot be used: {detail}")
