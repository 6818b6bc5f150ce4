"""How large the circuit of a shape is, and the settings file that says so.

The circuit takes the smallest number of rows, 2^k, in which it fits one block of columns.
Values are decomposed into limbs whose table must fit the rows: small circuits take smaller
limbs. ezkl's own settings differ from run to run, in the order of the range checks and by
some cells in what it measures, and the order alone changes the verification key. Settings
are therefore put into one canonical form, so that every verifier derives the same key.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkpot.errors import Reason, Rejected
from zkpot.model import Shape
from zkpot.proof.ezkl import circuit
from zkpot.proof.ezkl.engine import ezkl_module

INNER_COLUMNS = 3

LIMBS = ((8192, 2, 14), (1024, 3, 11), (128, 4, 9))
"""(base, limbs, fewest logrows): values of 26, 30 and 28 bits and a sign."""

MAX_LOGROWS = 17
"""Proving at 2^17 rows takes about 3.5 GB and a minute; more is no job for a device."""

RESERVED_ROWS = 8
"""ezkl fills 2^k - 6 rows and opens a second block when they are exactly full."""


@dataclass(frozen=True)
class Layout:
    """Canonical settings (JSON) and what follows from them."""

    settings: bytes
    logrows: int
    value_limit: int

    @classmethod
    def from_settings(cls, settings: bytes) -> "Layout":
        """Reads what `measure` wrote. `value_limit`: every |value| stays below it."""
        arguments = json.loads(settings)["run_args"]
        limit = int(arguments["decomp_base"]) ** int(arguments["decomp_legs"])
        return cls(settings, int(arguments["logrows"]), limit)


def measure(shape: Shape, batch_size: int, graph: bytes) -> Layout:
    """The layout of `graph`; raises `Rejected` (TASK_INVALID) if it fits no allowed size."""
    best: tuple[int, dict[str, Any]] | None = None
    cells = 0
    longest = max(circuit.message_lengths(shape, batch_size))
    with tempfile.TemporaryDirectory(prefix="zkpot-ezkl-") as name:
        path = Path(name) / "circuit.onnx"
        path.write_bytes(graph)
        for base, limbs, fewest in LIMBS:
            for logrows in range(fewest, best[0] if best else MAX_LOGROWS + 1):
                if longest + 1 > usable_rows(logrows):
                    continue
                settings = _generate(path, base, limbs, logrows)
                cells = int(settings["total_assignments"])
                if _fits(cells, logrows):
                    best = (logrows, settings)
                    break
    if best is None:
        raise Rejected(
            Reason.TASK_INVALID,
            f"widths {shape.widths} with {batch_size} samples need {cells // INNER_COLUMNS} rows "
            f"and a column of {longest + 1}; ezkl/1 allows {usable_rows(MAX_LOGROWS)}",
        )
    return Layout.from_settings(_canonical(*best))


def usable_rows(logrows: int) -> int:
    """Rows of one column that values may fill."""
    return int((1 << logrows) - RESERVED_ROWS)


def _fits(cells: int, logrows: int) -> bool:
    """Whether one block holds the circuit.

    Two measurements of one circuit differ by up to 0.3 % [assumption test]. A circuit that
    close to the limit is refused: otherwise two verifiers might choose different sizes.
    """
    capacity = INNER_COLUMNS * usable_rows(logrows)
    doubt = 32 + capacity // 200
    if capacity - doubt < cells <= capacity:
        raise Rejected(
            Reason.TASK_INVALID,
            f"{cells} cells are too close to the {capacity} of 2^{logrows} rows: "
            "take one sample more or less",
        )
    return cells <= capacity


def _generate(graph: Path, base: int, limbs: int, logrows: int) -> dict[str, Any]:
    ezkl = ezkl_module()
    arguments = ezkl.PyRunArgs()
    arguments.input_visibility = "polycommit"
    arguments.param_visibility = "fixed"
    arguments.output_visibility = "public"
    arguments.input_scale = 0
    arguments.param_scale = 0
    arguments.num_inner_cols = INNER_COLUMNS
    arguments.decomp_base = base
    arguments.decomp_legs = limbs
    arguments.ignore_range_check_inputs_outputs = True
    arguments.logrows = logrows
    target = graph.with_name("settings.json")
    ezkl.gen_settings(str(graph), str(target), py_run_args=arguments)
    return dict(json.loads(target.read_bytes()))


def _canonical(logrows: int, settings: dict[str, Any]) -> bytes:
    """Everything that varies between runs set to its largest or its sorted value."""
    rows = usable_rows(logrows)
    settings["required_range_checks"].sort()
    settings["required_lookups"].sort(key=json.dumps)
    settings["num_rows"] = rows
    settings["total_assignments"] = rows * INNER_COLUMNS
    settings["einsum_params"]["total_einsum_col_size"] = rows
    settings["timestamp"] = 0
    return json.dumps(settings, sort_keys=True).encode()
