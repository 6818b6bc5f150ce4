"""What attacks on the model make: admissible models that do what their name says."""

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, split_digits
from zkpot.initial import initial_model
from zkpot.model import Int64Array, check_bounds, count_correct
from zkpot.proof.system import no_progress
from zkpot_agent.hostile_trainers import (
    Attack,
    Attacker,
    free_rider,
    gaussian,
    label_flip,
    sign_flip,
)
from zkpot_agent.train.mlp import MlpTrainer
from zkpot_agent.train.network import scales
from zkpot_agent.train.trainer import Trainer, TrainSettings

START = initial_model(DIGITS_SPEC, 3)
DATA = split_digits(4, 100.0, 0).devices[0]
SETTINGS = TrainSettings(epochs=10)


def trained(trainer: Trainer, seed: int = 1) -> Int64Array:
    return trainer.train(DIGITS_SPEC, START, DATA, SETTINGS, seed=seed, progress=no_progress)


def attacked(attack: Attack, seed: int = 1) -> Int64Array:
    return trained(Attacker(attack), seed)


def share(theta: Int64Array, data: Batch = DATA) -> float:
    return count_correct(DIGITS_SPEC.shape, theta, data.inputs, data.labels) / data.size


@pytest.mark.parametrize("attack", [sign_flip, gaussian, label_flip, free_rider])
def test_attacks_are_admissible_and_repeatable(attack: Attack) -> None:
    theta = attacked(attack)
    check_bounds(DIGITS_SPEC.shape, theta)
    assert np.array_equal(theta, attacked(attack))


def test_sign_flip_goes_the_other_way() -> None:
    grid = scales(DIGITS_SPEC)
    start = grid.to_float(START.mean)
    honest = grid.to_float(trained(MlpTrainer())) - start
    flipped = grid.to_float(attacked(sign_flip)) - start
    inside = np.abs(start - honest) < grid.high - 1 / grid.units
    assert np.abs(honest + flipped)[inside].max() <= (1 / grid.units).max()
    assert share(attacked(sign_flip)) < 0.2
    assert share(trained(MlpTrainer())) > 0.8


def test_gaussian_differs_from_seed_to_seed() -> None:
    one, other = attacked(gaussian, 1), attacked(gaussian, 2)
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.9
    weights = one[: 64 * 32]
    assert 40 < weights.std() < 70


def test_label_flip_learns_the_labels_turned_around() -> None:
    theta = attacked(label_flip)
    turned = Batch(DATA.inputs, (9 - DATA.labels).astype(np.uint8))
    assert share(theta) < 0.2
    assert share(theta, turned) > 0.8


def test_free_rider_returns_what_it_was_given() -> None:
    assert np.array_equal(attacked(free_rider), START.theta)
