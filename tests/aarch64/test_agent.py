"""The agent on aarch64, under emulation: its own tests, and a whole round.

Seconds and sizes are those of an emulator on this machine, not of a device.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.aarch64.emulation import ROOT
from tests.aarch64.selection import IMPOSSIBLE, LONG, pytest_arguments
from tests.device.lone_round import DIGITS_DATA, DIGITS_TASK, PHASES, run_round

EMULATOR_MB = 4000
"""No limit that an agent comes near: the emulator's own memory is counted too."""

pytestmark = [pytest.mark.aarch64, pytest.mark.timeout(3600)]


def test_the_agents_tests_pass(emulated_python: str) -> None:
    # What this environment must hold is decided here, not by the rule for the whole set.
    surroundings = {name: value for name, value in os.environ.items() if name != "CI"}
    options = ["-q", "-n2", "-p", "no:cacheprovider", "-o", "timeout=900"]
    done = subprocess.run(
        [emulated_python, "-m", "pytest", *options, *pytest_arguments()],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    sys.stdout.write(f"\nemulated, not a device: {done.stdout.splitlines()[-1]}\n")


@pytest.mark.broker
@pytest.mark.chain
@pytest.mark.prover
@pytest.mark.enable_socket
def test_a_whole_round(emulated_python: str, tmp_path: Path) -> None:
    """Service, link, training, commitment, proof, record and published model."""
    began = time.monotonic()
    outcome = run_round(tmp_path, EMULATOR_MB, DIGITS_TASK, DIGITS_DATA, python=emulated_python)
    assert outcome.published
    assert set(outcome.phase_to_mb) >= PHASES
    seconds = round(time.monotonic() - began)
    sys.stdout.write(f"\nemulated, not a device: a round in {seconds} s\n")


def test_the_docs_name_what_is_left_out() -> None:
    docs = (ROOT / "docs" / "device.md").read_text()
    for name in (*IMPOSSIBLE, *LONG):
        file, _, test = name.rpartition("/")[2].partition("::")
        assert f"`{test.partition('[')[0] or file}`" in docs
