"""`scripts/faults`: runs the matrix and writes the tables of docs/reliability.md.

Without --full: the sample that the tests run. Everything is kept in --dir, so that a run that
was stopped goes on with the worlds it has not finished.
"""

import argparse
import hashlib
import json
import logging
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.faults.cells import Cell, all_cells, covering, worlds_of
from tests.faults.inject import FAULT_S
from tests.faults.settings import BLOCK_S, DEADLINE_S, DEVICES, WORK_DEADLINE_S
from tests.faults.table import Run, put_into, tables, write_results
from tests.faults.trial import Result, run_cells, run_kills
from tests.real.anvil import BESIDES
from tests.real.components import program

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
KILLS = 200
KILLS_PER_WORLD = 20
CELLS_PER_WORLD = 14
"""Few enough that a world that fails does not cost many, and that the pool lasts."""
SAMPLE_SEED = 5
_KEPT = "result.json"
_logger = logging.getLogger("faults")


def main() -> int:
    """Exit status 0 if every world passed."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    _logger.info("seed %d", seed)
    options.dir.mkdir(parents=True, exist_ok=True)
    cells = all_cells() if options.full else covering(all_cells(), SAMPLE_SEED)
    began, day = time.monotonic(), time.strftime("%Y-%m-%d", time.gmtime())
    of_cells = [_of_cells(options.dir, world) for world in worlds_of(cells, CELLS_PER_WORLD)]
    shares = _shares(options.kills if options.full else 0)
    of_kills = [_of_kills(options.dir, count, seed + each) for each, count in enumerate(shares)]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        ended = pool.map(_ended, of_cells), pool.map(_ended, of_kills)
        with_cells, with_kills = map(list, ended)
    results = [each for world in with_cells for each in world.results]
    kills = [each for world in with_kills for each in world.results]
    faulty = [world.fault for world in (*with_cells, *with_kills) if world.fault]
    facts = {
        "date": day,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()},"
        f" Python {platform.python_version()}",
        "components": _versions(),
        "task": f"{DEVICES} devices, a validator where one is struck, a block every {BLOCK_S} s;"
        f" deadlines {DEADLINE_S} s, to train and to prove {WORK_DEADLINE_S} s;"
        f" faults of {FAULT_S} s",
        "seed": str(seed),
        "run": f"{len(results)} of {len(cells)} cells once each, {len(kills)} random kills,"
        f" {options.jobs} tasks at a time, {(time.monotonic() - began) / 60:.0f} minutes",
    }
    whole = Run(facts, results, kills, faulty)
    write_results(whole, options.dir / "results.json")
    if options.full:
        PAGE.write_text(put_into(PAGE.read_text(), tables(whole)))
    else:
        print(tables(whole))  # noqa: T201
    return 1 if faulty else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every cell, and the random kills")
    parser.add_argument("--kills", type=int, default=KILLS, help="how many random kills")
    parser.add_argument("--seed", type=int, help="of the random kills; printed")
    parser.add_argument("--jobs", type=int, default=1, help="how many tasks at a time")
    parser.add_argument("--dir", type=Path, default=Path("build/faults"), help="for everything")
    return parser.parse_args()


@dataclass(frozen=True)
class _World:
    """A world to run in a folder of its own."""

    name: str
    folder: Path
    run: Callable[[Path], list[Result]]


@dataclass(frozen=True)
class _Ended:
    results: Sequence[Result]
    fault: str = ""


def _of_cells(folder: Path, cells: Sequence[Cell]) -> _World:
    run = partial(run_cells, cells=cells)
    return _World(f"{len(cells)} cells from {cells[0]}", folder / f"cells-{_digest(cells)}", run)


def _of_kills(folder: Path, count: int, seed: int) -> _World:
    run = partial(run_kills, count=count, seed=seed)
    return _World(f"{count} random kills", folder / f"kills-{seed}-{count}", run)


def _digest(world: Sequence[Cell]) -> str:
    return hashlib.sha256("\n".join(map(str, world)).encode()).hexdigest()[:12]


def _shares(kills: int) -> list[int]:
    full, rest = divmod(kills, KILLS_PER_WORLD)
    return [KILLS_PER_WORLD] * full + ([rest] if rest else [])


def _ended(world: _World) -> _Ended:
    """What became of a world; from its folder if it was run before."""
    kept = world.folder / _KEPT
    if kept.exists():
        results = json.loads(kept.read_text())
        return _Ended([Result(**each | {"what": tuple(each["what"])}) for each in results])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    shutil.rmtree(world.folder, ignore_errors=True)
    world.folder.mkdir(parents=True)
    _logger.info("%s", world.name)
    try:
        results = world.run(world.folder)
    except AssertionError as error:
        _logger.exception("%s failed", world.name)
        return _Ended([], f"{world.name}: {str(error).splitlines()[0]}")
    kept.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return _Ended(results)


def _versions() -> str:
    mosquitto = _said(str(program("mosquitto")), "-h").splitlines()[0]
    anvil = _said(str(program("anvil", BESIDES)), "--version").splitlines()[0]
    ipfs = _said("ipfs", "--version") if shutil.which("ipfs") else "ipfs-core 0.18.1 on node"
    return f"{mosquitto}; {anvil}; {ipfs.strip()}"


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
