"""`scripts/bench robustness` measures with the products' own gate and rules."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench.robustness import BATCH, DEVICES, GATES, Case, next_model

from zkpot.aggregate import GlobalModel
from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, split_digits
from zkpot.model import count_correct
from zkpot.proof.system import no_progress
from zkpot_agent.train.mlp import MlpTrainer
from zkpot_agent.train.trainer import TrainSettings

ROOT = Path(__file__).parents[2]


def test_a_row_for_each_rule_attack_and_gate() -> None:
    command = [sys.executable, "-m", "bench", "robustness", "--json", "--rounds", "1"]
    command += ["--seeds", "1", "--rules", "median,krum:3", "--attacks", "none,free-rider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len({(row["rule"], row["attack"], row["gate"]) for row in rows}) == len(rows) == 8
    found = {(row["rule"], row["attack"]): row["accuracy"] for row in rows if row["gate"] == "off"}
    # Three equal models are nearest to each other: Krum keeps the model it had.
    assert found["krum:3", "free-rider"] < 0.3 < found["median", "free-rider"]


@pytest.fixture(scope="module")
def good() -> GlobalModel:
    """A model that labels most digits right."""
    data = split_digits(1, 1.0, 0).devices[0]
    start = GlobalModel(np.zeros(DIGITS_SPEC.shape.parameters, np.int64), 1)
    generator = np.random.default_rng(0)
    start.theta_sum[: 64 * 32] = generator.integers(-20, 21, 64 * 32)
    theta = MlpTrainer().train(
        DIGITS_SPEC, start, data, TrainSettings(epochs=5), seed=1, progress=no_progress
    )
    return GlobalModel(theta, 1)


def test_the_gate_keeps_bad_models_out_and_a_worse_sum_fails_the_round(good: GlobalModel) -> None:
    pool = split_digits(1, 1.0, 0).pool
    batch = Batch(pool.inputs[:BATCH], pool.labels[:BATCH])
    count = count_correct(DIGITS_SPEC.shape, good.theta, batch.inputs, batch.labels)
    assert count > 0.8 * BATCH
    bad = np.zeros_like(good.theta)
    assert GATES["on"].threshold(count) > count_correct(
        DIGITS_SPEC.shape, bad, batch.inputs, batch.labels
    )
    thetas = [good.theta] * 2 + [bad] * (DEVICES - 2)
    kept = next_model(Case("fedavg", "none", "on"), good, thetas, batch)
    assert kept is not None
    assert np.array_equal(kept.theta, good.theta)
    moved = next_model(Case("fedavg", "none", "off"), good, thetas, batch)
    assert moved is not None
    assert np.abs(moved.theta).sum() < np.abs(good.theta).sum() / 3
    assert next_model(Case("krum:3", "none", "on"), good, thetas, batch) is None
    assert next_model(Case("fedavg", "none", "on"), good, [bad] * DEVICES, batch) is None
