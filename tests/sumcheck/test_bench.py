"""`scripts/bench` prints the fields that are agreed, and refusals as rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.growth import FIGURES, PLOT, plot

ROOT = Path(__file__).parents[2]
FIELDS = {
    "system",
    "shape",
    "batch",
    "threads",
    "commit_s",
    "wellformed_s",
    "prove_s",
    "verify_s",
    "proof_bytes",
    "peak_mb",
    "setup_s",
}


def bench(*arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench", "proof", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.mark.prover
def test_a_row_for_each_case() -> None:
    rows = bench(
        *("--systems", "sumcheck", "--shapes", "digits,20-10-5", "--threads", "1,2"),
        *("--batch", "10", "--repeats", "2", "--together", "3"),
    )
    assert [(row["shape"], row["threads"]) for row in rows] == [
        ("digits", 1),
        ("digits", 2),
        ("20-10-5", 1),
        ("20-10-5", 2),
    ]
    for row in rows:
        assert row.keys() >= FIELDS
        assert all(row[name] is not None for name in FIELDS)
        assert row["repeats"] == 2
        assert row["verify_many_s"] > 0


@pytest.mark.prover
def test_what_a_system_cannot_take_is_a_row_with_the_reason() -> None:
    pytest.importorskip("ezkl")
    (row,) = bench("--systems", "ezkl", "--shapes", "mnist")
    assert row["prove_s"] is None
    assert "no shifts" in row["note"]


def test_the_plot_is_made_from_the_stored_figures() -> None:
    assert plot(json.loads(FIGURES.read_text())) == PLOT.read_text()
