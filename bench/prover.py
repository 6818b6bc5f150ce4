"""Proofs per second of a prover: 1 and 2 processes of its own, and a Dask cluster of 2 workers.

Each job is what a device would send: sealed to the prover's key, opened and proven in a fresh
process. Shown is the best of the repeats, the median, and the processor time of one job where its
process is ours to measure. The broker and the link are left out.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.cases import shape_of
from bench.machine import machine
from bench.table import Column, print_table
from zkpot.keys import KeyPair, create_key_file
from zkpot.offload import make_job, seal_job
from zkpot.proof.child import Limits
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import SUMCHECK
from zkpot_agent.trial import random_batch, random_theta, subject
from zkpot_aggregator.prover.config import DaskConfig
from zkpot_aggregator.prover.executors import DaskPool, SpawnPool
from zkpot_aggregator.prover.jobs import SealedJob, prove_sealed

CLUSTER_SECONDS = 60.0
LIMITS = Limits(memory_bytes=2 << 30, cores=1, wall_seconds=600)

_COLUMNS = (
    Column("where", "where"),
    Column("shape", "shape"),
    Column("N", "batch"),
    Column("jobs", "jobs"),
    Column("proofs/s", "per_second"),
    Column("median", "median_per_second"),
    Column("processor time each", "cpu_each_s", "s"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--shapes", default="digits,mnist", help="names or widths")
    parser.add_argument("--batch", type=int, default=100, help="samples per proof")
    parser.add_argument("--jobs", type=int, default=20, help="jobs per pass")
    parser.add_argument("--repeats", type=int, default=3, help="passes per row")
    parser.add_argument("--json", action="store_true", help="a JSON list and nothing else")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    with TemporaryDirectory(prefix="zkpot-bench-") as folder:
        rows = asyncio.run(_rows(options, Path(folder)))
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        print_table(_COLUMNS, rows)
        sys.stdout.write(f"best of {options.repeats} passes; {machine()}\n")
    return 0


async def _rows(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    key = create_key_file(folder / "prover.key")
    name_to_task = {
        name: _sealed(name, options.batch, key, folder) for name in options.shapes.split(",")
    }
    rows = []
    async for where, pool, own_key in _pools(folder, bytes(key.signing)):
        for name, task in name_to_task.items():
            sys.stderr.write(f"measuring {where}, {name}\n")
            await _pass(pool, replace(task, key=own_key), 2)
            before = _children_cpu_s()
            rates = [
                await _pass(pool, replace(task, key=own_key), options.jobs)
                for _ in range(options.repeats)
            ]
            used = (_children_cpu_s() - before) / (options.jobs * options.repeats)
            rows.append(
                {
                    "where": where,
                    "shape": name,
                    "batch": options.batch,
                    "jobs": options.jobs,
                    "per_second": round(max(rates), 2),
                    "median_per_second": round(statistics.median(rates), 2),
                    "cpu_each_s": used if where.startswith("local") else None,
                    "machine": machine(),
                }
            )
    return rows


async def _pass(pool: Executor, task: SealedJob, jobs: int) -> float:
    """Proofs per second of `jobs` jobs that are submitted at once."""
    began = time.perf_counter()
    futures = [asyncio.wrap_future(pool.submit(prove_sealed, task)) for _ in range(jobs)]
    await asyncio.gather(*futures)
    return jobs / (time.perf_counter() - began)


def _children_cpu_s() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _pools(folder: Path, seed: bytes) -> AsyncIterator[tuple[str, Executor, bytes | Path]]:
    for workers in (1, 2):
        pool = SpawnPool(workers, LIMITS)
        yield f"local, {workers} at once", pool, seed
        pool.shutdown()
    if find_spec("distributed") is None:
        sys.stderr.write("dask is not installed: pip install 'zkpot[dask]'\n")
        return
    with _cluster(folder, workers=2) as address:
        config = DaskConfig(address, folder / "prover.key", 2)
        dask = await asyncio.to_thread(DaskPool, config, LIMITS)
        yield "Dask, 2 workers", dask, folder / "prover.key"
        await asyncio.to_thread(dask.shutdown)


@contextlib.contextmanager
def _cluster(folder: Path, *, workers: int) -> Iterator[str]:
    """A scheduler and its workers on loopback, a thread each."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    with contextlib.ExitStack() as stack:
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", *common]
        stack.enter_context(_started(scheduler, folder))
        end = time.monotonic() + CLUSTER_SECONDS
        while not file.exists():
            if time.monotonic() > end:
                raise TimeoutError("the Dask scheduler does not start")
            time.sleep(0.1)
        worker = ["worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", *common]
        for _ in range(workers):
            stack.enter_context(_started(worker, folder))
        yield json.loads(file.read_text())["address"]


@contextlib.contextmanager
def _started(arguments: list[str], folder: Path) -> Iterator[None]:
    command = [str(Path(sys.executable).parent / "dask"), *arguments]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet) as process:
        try:
            yield
        finally:
            process.terminate()


def _sealed(name: str, batch_size: int, key: KeyPair, folder: Path) -> SealedJob:
    """A device's job: a true statement about a random model."""
    shape, generator = shape_of(name), np.random.default_rng(1)
    theta = random_theta(shape, generator)
    batch = random_batch(shape, theta, batch_size, generator)
    made = subject(Backend(SUMCHECK, shape, batch_size, folder, "").load(), shape, theta, batch)
    device = KeyPair.generate().id
    job = make_job(device, key.id, SUMCHECK, "", shape, made.statement, made.opening)
    sealed = seal_job(key.box_key, job)
    return SealedJob(sealed, device, bytes(key.signing), (SUMCHECK,), folder / "cache")
