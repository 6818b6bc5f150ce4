"""The data sources `npz` and `csv`: samples from a file the device's owner wrote.

Values must be whole numbers in the range of a byte; nothing is scaled or cast silently.
"""

import csv
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zkpot.batch import Batch
from zkpot.errors import ExitCode, Fatal
from zkpot.model import INPUT_MAX, UInt8Array

UNREADABLE = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile),
    # Damaged, encrypted or packed in a way that is not known; larger than the memory.
    *(zlib.error, RuntimeError, MemoryError),
)
"""What NumPy raises for something that is not an archive of plain arrays."""


@dataclass(frozen=True)
class NpzSource:
    """A NumPy archive with `inputs` [M, features] and `labels` [M]."""

    path: str
    classes: int

    @property
    def features(self) -> int:
        """Columns of `inputs`."""
        return int(self._samples.inputs.shape[1])

    def load(self) -> Batch:
        """All samples of the file; raises `Fatal` with CONFIG if it cannot be used."""
        return self._samples

    @cached_property
    def _samples(self) -> Batch:
        try:
            with Path(self.path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                inputs, labels = archive["inputs"], archive["labels"]
        except UNREADABLE as error:
            raise _unusable(self.path, f"expected arrays 'inputs' and 'labels': {error}") from error
        return _batch(self.path, inputs, labels)


@dataclass(frozen=True)
class CsvSource:
    """A table with a header row; the column `label` holds the class, all others are inputs."""

    path: str
    classes: int
    label: str = "label"

    @property
    def features(self) -> int:
        """Columns but the label's."""
        return int(self._samples.inputs.shape[1])

    def load(self) -> Batch:
        """All rows of the file; raises `Fatal` with CONFIG if it cannot be used."""
        return self._samples

    @cached_property
    def _samples(self) -> Batch:
        try:
            header, table = read_table(Path(self.path))
        except (OSError, ValueError) as error:
            raise _unusable(self.path, str(error)) from error
        if header.count(self.label) != 1:
            raise _unusable(self.path, f"expected one column {self.label!r}, got {header}"[:200])
        column = header.index(self.label)
        return _batch(self.path, np.delete(table, column, axis=1), table[:, column])


def read_table(path: Path) -> tuple[list[str], UInt8Array]:
    """The header of a CSV file, and its rows as bytes [M, columns], a line at a time.

    Raises OSError, or ValueError that names the line, also for what is no whole number of a byte.
    """
    # Spreadsheets put a byte order mark at the beginning.
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        try:
            header = next(rows, [])
            data = b"".join(_numbers(rows, len(header)))
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from error
    return header, np.frombuffer(data, np.uint8).reshape(-1, max(len(header), 1))


def _numbers(rows: Iterator[list[str]], columns: int) -> Iterator[bytes]:
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        try:
            values = bytes(map(int, row))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if len(values) != columns:
            raise ValueError(f"line {number}: {len(row)} values, not {columns}")
        yield values


def _batch(path: str, inputs: NDArray[np.generic], labels: NDArray[np.generic]) -> Batch:
    if inputs.ndim != 2 or labels.shape != inputs.shape[:1] or not labels.size:
        raise _unusable(
            path, f"inputs {inputs.shape} and labels {labels.shape}, expected [M, features] and [M]"
        )
    return Batch(_bytes(path, "inputs", inputs), _bytes(path, "labels", labels))


def _bytes(path: str, name: str, values: NDArray[np.generic]) -> UInt8Array:
    if not np.issubdtype(values.dtype, np.integer):
        raise _unusable(path, f"{name} are {values.dtype}, expected whole numbers")
    whole = values.astype(np.int64)
    if whole.min(initial=0) < 0 or whole.max(initial=0) > INPUT_MAX:
        raise _unusable(path, f"{name} must lie between 0 and {INPUT_MAX}")
    return whole.astype(np.uint8)


def _unusable(path: str, detail: str) -> Fatal:
    return Fatal(ExitCode.CONFIG, f"the data file {path} cannot be used: {detail}")
