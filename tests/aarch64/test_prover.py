"""The prover built for aarch64 works: on vectors made here, and in the agent's self-test."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_EMULATOR = 77
NOT_RUN = "NOT RUN: the prover on aarch64, because no emulator can be installed here"

pytestmark = [pytest.mark.aarch64, pytest.mark.timeout(600)]


def test_the_wheel_passes_its_self_test_under_emulation() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "aarch64"], capture_output=True, text=True, check=False
    )
    if done.returncode == NO_EMULATOR and os.environ.get("CI") != "true":
        pytest.skip(NOT_RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel, vectors, selftest = done.stdout.strip().splitlines()
    assert wheel.endswith("_aarch64.whl")
    assert vectors.startswith("aarch64: ")
    facts = json.loads(selftest)
    assert facts["ok"]
    assert facts["proof_bytes"] < 32_000
