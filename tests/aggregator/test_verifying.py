"""Verification workers: replaced when they die, gone when the aggregator is."""

import asyncio
import math
import os
import signal
import subprocess
import sys

import pytest

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.verifying import Verifier

AGGREGATOR = """
import asyncio, os, time
from zkpot_aggregator.verifying import Verifier

async def main():
    print(await Verifier(1).run(os.getpid), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_die_with_a_killed_aggregator() -> None:
    """Else they keep its standard output open, and whoever reads it waits for ever."""
    command = [sys.executable, "-c", AGGREGATOR]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        assert worker != process.pid
        process.kill()
        assert process.communicate(timeout=60)[0] == ""


def test_a_job_that_kills_its_worker_twice_is_rejected_and_others_go_on() -> None:
    async def check() -> None:
        verifier = Verifier(1)
        try:
            first = await verifier.run(os.getpid)
            with pytest.raises(Rejected) as caught:
                await verifier.run(signal.raise_signal, signal.SIGKILL)
            assert caught.value.reason is Reason.PROOF_INVALID
            assert await verifier.run(os.getpid) not in (first, os.getpid())
        finally:
            verifier.stop()

    asyncio.run(check())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_kills_its_workers_harms_no_other(workers: int) -> None:
    async def check() -> None:
        verifier = Verifier(workers)
        try:
            await verifier.run(os.getpid)
            killers = [verifier.run(signal.raise_signal, signal.SIGKILL) for _ in range(2)]
            others = [verifier.run(math.sqrt, number**2) for number in range(3)]
            *killed, zero, one, two = await asyncio.gather(
                *killers, *others, return_exceptions=True
            )
        finally:
            verifier.stop()
        assert [type(each) for each in killed] == [Rejected, Rejected]
        assert [zero, one, two] == [0, 1, 2]

    asyncio.run(check())
