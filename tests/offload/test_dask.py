"""A prover whose jobs run on a Dask cluster: a scheduler and two workers on loopback."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.offload.rig import (
    check,
    device,
    proof_request,
    prover_process,
    site,
    write_prover_toml,
)

from zkpot.keys import KeyPair
from zkpot.proof.system import no_progress

pytest.importorskip("zkpot_prover")
pytest.importorskip("distributed")
pytestmark = [pytest.mark.broker, pytest.mark.prover, pytest.mark.enable_socket]

START_S = 300.0


@contextlib.contextmanager
def started(*arguments: str, folder: Path) -> Iterator[None]:
    """A `dask` command; its output goes into a file."""
    command = [str(Path(sys.executable).parent / "dask"), *arguments]
    with (
        (folder / f"dask-{arguments[0]}.log").open("ab") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


def written_address(file: Path) -> str | None:
    """None while it is not there, or only in part."""
    try:
        address: str = json.loads(file.read_text())["address"]
    except (FileNotFoundError, ValueError):
        return None
    return address


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The scheduler's address. Only one of the two workers has the resource `PROOFS`."""
    file = folder / "scheduler.json"
    common = ("--scheduler-file", str(file), "--no-dashboard")
    with contextlib.ExitStack() as stack:
        scheduler = ("scheduler", "--host", "127.0.0.1", "--port", "0", *common)
        stack.enter_context(started(*scheduler, folder=folder))
        end = time.monotonic() + START_S
        while (address := written_address(file)) is None:
            assert time.monotonic() < end, "the scheduler does not start"
            time.sleep(0.05)
        worker = ("worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", *common)
        stack.enter_context(started(*worker, folder=folder))
        stack.enter_context(started(*worker, "--resources", "PROOFS=1", folder=folder))
        yield address


async def two_proofs_and_a_mistake(folder: Path, address: str) -> None:
    anna, key = KeyPair.generate(), KeyPair.generate()
    with site(folder, [anna], [key]) as place:
        dask = (
            f'[dask]\nscheduler = "{address}"\nkey_file = "{place.write_key(key)}"\n'
            "workers = 2\nresources = { PROOFS = 1 }\n"
        )
        config = write_prover_toml(place, key, [anna])
        config.write_text(config.read_text() + dask)
        async with (
            prover_process(config) as proving,
            device(place, anna, [key], lease_s=60) as made,
        ):
            for seed in (1, 2):
                request = proof_request(seed)
                check(request, await made.client.prove(request, no_progress))
            job = made.client.offer(key.id, b"not a sealed box", 60)
            failed = await proving.until(event="job", state="failed")
            made.client.withdraw(key.id, job)
    assert failed["reason"] == "malformed", "what a job raised comes back through the cluster"


def test_proofs_come_from_the_cluster(tmp_path: Path) -> None:
    with cluster(tmp_path) as address:
        asyncio.run(two_proofs_and_a_mistake(tmp_path, address))
