"""Cost of one device's proofs, per proof system, shape, batch size and number of threads.

Every row comes from a fresh process. Times are the best of the repeats; `peak_mb` is the
resident memory above the interpreter's own with everything imported, in the first pass.
`setup_s` is what the keys cost once per shape.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import jstprove
from bench.cases import Case, shape_of
from bench.fresh import run_fresh
from bench.machine import machine
from bench.table import Column, print_table
from zkpot.proof.registry import NAME_TO_SYSTEM

SYSTEMS = (*NAME_TO_SYSTEM, "jstprove")

REQUIRED = (
    "commit_s",
    "wellformed_s",
    "prove_s",
    "verify_s",
    "proof_bytes",
    "peak_mb",
    "setup_s",
)
"""Fields every row has; null where a system has no such step or could not be measured."""

_COLUMNS = (
    Column("system", "system"),
    Column("shape", "shape"),
    Column("N", "batch"),
    Column("threads", "threads"),
    Column("setup", "setup_s", "s"),
    Column("commit", "commit_s", "s"),
    Column("wellformed", "wellformed_s", "s"),
    Column("prove", "prove_s", "s"),
    Column("verify", "verify_s", "s"),
    Column("each of many", "verify_many_s", "s"),
    Column("proof", "proof_bytes", "B"),
    Column("peak", "peak_mb", "MB"),
    Column("note", "note"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--systems", type=_systems, default=["sumcheck", "ezkl"])
    parser.add_argument("--shapes", type=_shapes, default=["digits", "mnist"])
    parser.add_argument("--batch", type=_numbers, default=[100], help="samples, e.g. 100,1000")
    parser.add_argument("--threads", type=_numbers, default=[2], help="e.g. 1,2")
    parser.add_argument(
        "--repeats", type=int, help="passes in the fresh process; default 15, for ezkl 1"
    )
    parser.add_argument(
        "--together", type=int, default=100, help="proofs for verify_many; 0: leave it out"
    )
    parser.add_argument("--json", action="store_true", help="a JSON list and nothing else")


def run(options: argparse.Namespace) -> int:
    """Measures and prints; exit status 1 if nothing at all could be measured."""
    rows = []
    with TemporaryDirectory(prefix="zkpot-bench-") as folder:
        for case in _cases(options):
            _say(f"{case.system} {case.shape}, N={case.batch}, {case.threads} threads")
            rows.append(row(case, Path(folder), options.repeats, options.together))
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        print_table(_COLUMNS, rows)
        for line in [*ratios(rows), machine()]:
            sys.stdout.write(line + "\n")
    return 0 if any(each["prove_s"] is not None for each in rows) else 1


def row(case: Case, cache: Path, repeats: int | None, together: int) -> dict[str, Any]:
    """One row; what could not be measured is null, and `note` says why."""
    empty = {"system": case.system, "shape": case.shape, "batch": case.batch}
    empty |= {"threads": case.threads, **dict.fromkeys(REQUIRED), "note": ""}
    if case.system == "jstprove":
        return empty | jstprove.measured(shape_of(case.shape)) | {"machine": machine()}
    found = run_fresh("prepare", case, cache)
    if "error" not in found:
        passes = repeats or (1 if case.system == "ezkl" else 15)
        found |= run_fresh("measure", case, cache, repeats=passes)
    if "error" not in found and case.system == "sumcheck" and together:
        found |= run_fresh("together", case, cache, together=together)
    note = found.pop("error", "")
    return empty | found | {"note": note, "machine": machine()}


def ratios(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How much faster sumcheck is than ezkl, wherever both were measured."""
    key = ("shape", "batch", "threads")
    slow = {tuple(r[k] for k in key): r["prove_s"] for r in rows if r["system"] == "ezkl"}
    for each in rows:
        place = tuple(each[k] for k in key)
        if each["system"] == "sumcheck" and each["prove_s"] and slow.get(place):
            yield (
                f"{each['shape']}, N={each['batch']}, {each['threads']} threads: "
                f"sumcheck proves {slow[place] / each['prove_s']:.0f} times faster than ezkl"
            )


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    for shape in options.shapes:
        for batch in options.batch:
            for threads in options.threads:
                for system in options.systems:
                    yield Case(system, shape, batch, threads)


def _systems(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: expected some of {', '.join(SYSTEMS)}")
    return names


def _shapes(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        shape_of(name)
    return names


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _say(line: str) -> None:
    sys.stderr.write(f"measuring {line}\n")
