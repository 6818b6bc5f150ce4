"""`scripts/faults`: runs the matrix and writes the tables of docs/reliability.md.

Without --full: the sample that the tests run. Everything is kept in --dir, so that a run that
was stopped goes on with the worlds it has not finished.
"""

import argparse
import logging
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.faults.cells import all_cells, covering
from tests.faults.inject import FAULT_S
from tests.faults.jobs import cell_jobs, end, kill_jobs, log_to_stderr
from tests.faults.settings import BLOCK_S, DEADLINE_S, DEVICES, WORK_DEADLINE_S
from tests.faults.table import Run, put_into, tables, write_results
from tests.real.anvil import BESIDES
from tests.real.components import program

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
KILLS = 200
SAMPLE_SEED = 5
_logger = logging.getLogger("faults")


def main() -> int:
    """Exit status 0 if every world passed."""
    options = _options()
    log_to_stderr()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    _logger.info("seed %d", seed)
    options.dir.mkdir(parents=True, exist_ok=True)
    cells = all_cells() if options.full else covering(all_cells(), SAMPLE_SEED)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        struck = pool.map(end, cell_jobs(options.dir, cells))
        killed = pool.map(end, kill_jobs(options.dir, options.kills if options.full else 0, seed))
        with_cells, with_kills = list(struck), list(killed)
    worlds = with_cells + with_kills
    results = [each for world in with_cells for each in world.results]
    kills = [each for world in with_kills for each in world.results]
    faulty = [world.fault for world in worlds if world.fault]
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
        f" in {len(worlds)} tasks of {sum(world.seconds for world in worlds) / 60:.0f} minutes"
        f" in all, {options.jobs} at a time",
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


def _versions() -> str:
    mosquitto = _said(str(program("mosquitto")), "-h").splitlines()[0]
    anvil = _said(str(program("anvil", BESIDES)), "--version").splitlines()[0]
    ipfs = _said("ipfs", "--version") if shutil.which("ipfs") else "ipfs-core 0.18.1 on node"
    return f"{mosquitto}; {anvil}; {ipfs.strip()}"


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
