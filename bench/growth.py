"""How time, memory and size of a sumcheck proof grow with batch size, width and depth.

Writes the figures as JSON and the plot made from them as SVG, beside each other. With
--plot-only the plot is made again from the stored figures. Shown for proving is the processor
time of all threads, which other work on the machine changes least.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.cases import Case
from bench.chart import Panel, Series, chart
from bench.fresh import run_fresh
from bench.machine import machine

DOCS = Path(__file__).parent.parent / "docs" / "img"
FIGURES = DOCS / "proof-growth.json"
PLOT = DOCS / "proof-growth.svg"

THREADS = 2
BATCHES = (100, 200, 500, 1000, 2000, 5000, 10_000)
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
DEPTHS = (1, 2, 3, 4, 5, 6)
_DEEP_WIDTH = 64

SWEEPS: dict[str, tuple[tuple[int, str, int], ...]] = {
    "N": tuple((batch, "mnist", batch) for batch in BATCHES),
    "width": tuple((width, f"784-{width}-10", 100) for width in WIDTHS),
    "depth": tuple(
        (depth, "-".join(["784", *[str(_DEEP_WIDTH)] * depth, "10"]), 100) for depth in DEPTHS
    ),
}
"""Per sweep: the value on the axis, the shape, N."""

_TITLES = {
    "N": "samples N (784-128-10)",
    "width": "width w (784-w-10, N = 100)",
    "depth": f"hidden layers of {_DEEP_WIDTH} (N = 100)",
}
_ROWS = (
    ("milliseconds", (("prove (processor time)", "prove_cpu_s", 1e3), ("verify", "verify_s", 1e3))),
    ("MB above the interpreter", (("memory", "peak_mb", 1.0),)),
    ("proof, kB", (("size", "proof_bytes", 1e-3),)),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--plot-only", action="store_true", help="measure nothing")
    parser.add_argument("--repeats", type=int, default=5, help="passes in each fresh process")


def run(options: argparse.Namespace) -> int:
    """Measures, stores, plots."""
    DOCS.mkdir(parents=True, exist_ok=True)
    if not options.plot_only:
        FIGURES.write_text(json.dumps(measured(options.repeats), indent=1) + "\n")
    PLOT.write_text(plot(json.loads(FIGURES.read_text())))
    return 0


def measured(repeats: int) -> dict[str, Any]:
    """Figures of every sweep: a list of rows with the value on the axis as `at`."""
    sweeps: dict[str, Any] = {}
    with TemporaryDirectory(prefix="zkpot-bench-") as folder:
        for name, points in SWEEPS.items():
            rows = []
            for at, shape, batch in points:
                sys.stderr.write(f"measuring {shape}, N={batch}\n")
                case = Case("sumcheck", shape, batch, THREADS)
                found = run_fresh("measure", case, Path(folder), repeats=repeats)
                rows.append({"at": at, "shape": shape, "batch": batch, **found})
            sweeps[name] = rows
    return {"machine": machine(), "threads": THREADS, "sweeps": sweeps}


def plot(figures: dict[str, Any]) -> str:
    """The SVG: one column per sweep; one row each for time, memory and size."""
    panels = [
        Panel(
            title=_TITLES[name],
            unit=unit,
            series=tuple(
                Series(
                    label,
                    tuple((row["at"], row[field] * scale) for row in rows if "error" not in row),
                )
                for label, field, scale in lines
            ),
        )
        for unit, lines in _ROWS
        for name, rows in figures["sweeps"].items()
    ]
    return chart(panels, columns=len(figures["sweeps"]))
