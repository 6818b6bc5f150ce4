"""Two sums from one starting model, of nearly the same devices: a limit, not a virtue.

What the operator learns if it lets a round fail after it has seen the sum, and says in the next
that one device dropped out, as docs/privacy.md has it.
"""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from zkpot.aggregate import GlobalModel
from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, split_digits
from zkpot.initial import initial_model
from zkpot.model import Int64Array
from zkpot.proof.system import no_progress
from zkpot_agent.train.trainer import TrainSettings, find_trainer

DEVICES = 5
ROUNDS_BEFORE = 2


def sets(size: int) -> list[Batch]:
    """Each device's data, evenly drawn, cut to `size` samples."""
    parts = split_digits(DEVICES, 1e6, 0).devices
    return [Batch(part.inputs[:size], part.labels[:size]) for part in parts]


def train(start: GlobalModel, data: list[Batch], seed: int) -> list[Int64Array]:
    """What all devices make of `start`, by the agent's own trainer as it is set by default."""
    trainer, settings = find_trainer("mlp"), TrainSettings()
    return [
        trainer.train(DIGITS_SPEC, start, part, settings, seed=seed + k, progress=no_progress)
        for k, part in enumerate(data)
    ]


def start_model() -> GlobalModel:
    """The global model after some rounds."""
    model, data = initial_model(DIGITS_SPEC, 1), sets(200)
    for number in range(ROUNDS_BEFORE):
        model = GlobalModel(np.sum(train(model, data, 100 * number), axis=0), DEVICES)
    return model


def guess(start: GlobalModel, size: int) -> tuple[Int64Array, Int64Array]:
    """The difference of the two sums, and the model of the device that it tells about."""
    data = sets(size)
    failed, again = train(start, data, 1000), train(start, data, 2000)
    return sum(failed) - np.sum(again[1:], axis=0), failed[0]


@pytest.mark.parametrize(("size", "same_at_least"), [(20, 0.99), (32, 0.99), (64, 0.0), (200, 0.0)])
def test_two_sums_from_one_model_can_tell_one_device_s_model(
    size: int, same_at_least: float
) -> None:
    start = start_model()
    found, model = guess(start, size)
    assert np.mean(found == model) > same_at_least
    shown, true = found - start.theta, model - start.theta
    assert shown @ true / np.linalg.norm(shown) / np.linalg.norm(true) > 0.6
