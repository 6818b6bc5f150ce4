"""What a run is made of: worlds, each in a folder that keeps what became of it.

Every job can be handed to a process of its own.
"""

import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.faults.cells import Cell, worlds_of
from tests.faults.trial import Result, run_cells, run_kills

CELLS_PER_WORLD = 14
"""Few enough that a world that fails does not cost many, and that the pool lasts."""
KILLS_PER_WORLD = 20
_KEPT = "result.json"
_logger = logging.getLogger("faults")


@dataclass(frozen=True)
class Job:
    """A world to run in a folder of its own."""

    name: str
    folder: Path
    run: Callable[[Path], list[Result]]


@dataclass(frozen=True)
class Ended:
    """A job's results and how long it took, or why it did not pass."""

    results: Sequence[Result]
    seconds: float
    fault: str = ""


def cell_jobs(folder: Path, cells: Sequence[Cell]) -> list[Job]:
    """All cells, some to a world."""
    return [
        Job(
            f"{len(world)} cells from {world[0]}",
            folder / f"cells-{_digest(world)}",
            partial(run_cells, cells=world),
        )
        for world in worlds_of(cells, CELLS_PER_WORLD)
    ]


def kill_jobs(folder: Path, kills: int, seed: int) -> list[Job]:
    """So many random kills; each world has a seed of its own, counted up from `seed`."""
    full, rest = divmod(kills, KILLS_PER_WORLD)
    counts = [KILLS_PER_WORLD] * full + ([rest] if rest else [])
    return [
        Job(
            f"{count} random kills",
            folder / f"kills-{own}-{count}",
            partial(run_kills, count=count, seed=own),
        )
        for own, count in enumerate(counts, seed)
    ]


def end(job: Job) -> Ended:
    """Runs the job, or reads what became of it if it was run before."""
    kept = job.folder / _KEPT
    if kept.exists():
        found = json.loads(kept.read_text())
        results = [Result(**each | {"what": tuple(each["what"])}) for each in found["results"]]
        return Ended(results, found["seconds"])
    log_to_stderr()
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    _logger.info("%s", job.name)
    began = time.monotonic()
    try:
        results = job.run(job.folder)
    except AssertionError as error:
        _logger.exception("%s failed", job.name)
        reason = f"{job.name}: {str(error).splitlines()[0]}"
        return Ended([], time.monotonic() - began, reason)
    ended = Ended(results, time.monotonic() - began)
    kept.write_text(json.dumps(asdict(ended), indent=1))
    _logger.info("%s passed in %.0f s", job.name, ended.seconds)
    return ended


def log_to_stderr() -> None:
    """In every process of a run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)


def _digest(world: Sequence[Cell]) -> str:
    return hashlib.sha256("\n".join(map(str, world)).encode()).hexdigest()[:12]
