"""The agent's selftest measures, judges by the configured limits, and finds its task."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.protocol.rounds import make_round

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Journal
from zkpot.link import BrokerSettings
from zkpot.task import encode_task
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import JOURNAL_FILE, AgentConfig, DataConfig, LimitsConfig
from zkpot_agent.selftest import NAME_TO_SHAPE, Plan, plan_for, run_selftest

DIGITS = NAME_TO_SHAPE["digits"]
LARGE_BATCH = 4000


def plan(batch: int = 20, deadline: float | None = None, **limits: Any) -> Plan:
    return Plan("sumcheck/1", DIGITS, batch, LimitsConfig(**limits), deadline)


def config(tmp_path: Path, task: bytes = bytes(32), **changes: Any) -> AgentConfig:
    return AgentConfig(
        task=task.hex(),
        operator_key=bytes(32).hex(),
        key_file=tmp_path / "key",
        state_dir=tmp_path,
        broker=BrokerSettings("127.0.0.1", 1883),
        data=DataConfig("digits"),
        **changes,
    )


@pytest.mark.prover
def test_it_fits_without_limits() -> None:
    result = run_selftest(plan())
    assert result.ok
    assert result.trial is not None
    assert 0 < result.trial.prove_s < 60
    assert result.trial.interpreter_mb < result.trial.peak_mb < result.trial.interpreter_mb + 40
    assert result.trial.proof_bytes > 0


@pytest.mark.prover
def test_too_little_memory_is_the_verdict() -> None:
    result = run_selftest(plan(LARGE_BATCH, memory_mb=48))
    assert not result.ok
    assert "out-of-memory" in str(result.problem)


@pytest.mark.prover
def test_too_little_time_is_the_verdict() -> None:
    result = run_selftest(plan(LARGE_BATCH, deadline=0.3))
    assert not result.ok
    assert "0.3" in str(result.problem)


@pytest.mark.prover
def test_a_shape_the_system_cannot_take_is_the_verdict() -> None:
    result = run_selftest(plan(batch=1 << 17))
    assert not result.ok
    assert result.facts()["problem"].startswith("task-invalid")


@pytest.mark.prover
def test_the_command_prints_json() -> None:
    command = [sys.executable, "-m", "zkpot_agent", "selftest", "--shape", "digits", "--json"]
    done = subprocess.run([*command, "--batch", "10"], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.OK, done.stderr
    facts = json.loads(done.stdout)
    assert facts["ok"]
    assert (facts["shape"], facts["batch"]) == ("64-32-10", 10)
    assert {"prove_s", "verify_s", "peak_mb", "memory_limit_mb"} <= facts.keys()


def test_it_must_be_told_what_to_prove(tmp_path: Path) -> None:
    for loaded, shape in ((None, None), (None, "cifar"), (config(tmp_path), None)):
        with pytest.raises(Fatal) as fatal:
            plan_for(loaded, shape, None)
        assert fatal.value.exit_code is ExitCode.USAGE


def test_a_named_shape_keeps_the_configured_limits(tmp_path: Path) -> None:
    limits = LimitsConfig(memory_mb=64, cores=1)
    found = plan_for(config(tmp_path, limits=limits), "mnist", 7)
    assert (found.shape, found.batch_size) == (NAME_TO_SHAPE["mnist"], 7)
    assert found.limits == limits
    assert found.prove_deadline_s is None


def test_the_task_is_read_from_the_journal(tmp_path: Path) -> None:
    made = make_round(2)
    with Journal.open(tmp_path / JOURNAL_FILE) as journal:
        JournalBlocks(journal).offer(encode_task(made.task))
        found = plan_for(config(tmp_path, task=made.task_id), None, None)
    assert found.shape == made.task.model.shape
    assert found.batch_size == made.task.batch_size
    assert found.prove_deadline_s == made.task.deadlines.prove
