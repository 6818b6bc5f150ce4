"""The prover built for aarch64 works: on vectors made here, and in the agent's self-test."""

import json

import pytest
from tests.aarch64.emulation import run_script

pytestmark = pytest.mark.aarch64


def test_the_wheel_passes_its_self_test_under_emulation() -> None:
    wheel, vectors, selftest = run_script().strip().splitlines()
    assert wheel.endswith("_aarch64.whl")
    assert vectors.startswith("aarch64: ")
    facts = json.loads(selftest)
    assert facts["ok"]
    assert facts["proof_bytes"] < 32_000
