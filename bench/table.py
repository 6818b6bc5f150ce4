"""A table of rows for people."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A heading, the field it shows, and the field's unit: s, B, MB or none."""

    heading: str
    field: str
    unit: str = ""

    def text(self, row: Mapping[str, Any]) -> str:
        """The row's cell, with a prefix that suits its size."""
        value = row.get(self.field)
        if value is None:
            return "-"
        if self.unit == "s":
            return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"
        if self.unit == "B":
            return f"{value / 1e3:.1f} kB"
        if self.unit == "MB":
            return f"{value:.0f} MB"
        return str(value)


def print_table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes it to standard output, columns aligned."""
    lines = [[column.heading for column in columns]]
    lines += [[column.text(row) for column in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
