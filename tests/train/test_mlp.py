import pickle
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.aggregate import GlobalModel
from zkpot.datasets import (
    DIGITS_SPEC,
    MNIST_SPEC,
    split_digits,
    synthetic_samples,
)
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.initial import initial_model
from zkpot.model import ModelSpec, Shape, check_bounds, count_correct, predict
from zkpot.proof.system import no_progress
from zkpot_agent.train.mlp import MlpTrainer, fit
from zkpot_agent.train.network import forward
from zkpot_agent.train.trainer import TRAIN_GROUP, TrainSettings, find_trainer
from zkpot_agent.train.values import check_values, peak_values

EZKL_BITS = 26
ENTRIES = EntryPoints([EntryPoint("mlp", "zkpot_agent.train.mlp:MlpTrainer", TRAIN_GROUP)])
SMALL = ModelSpec(Shape((6, 8, 3), (2,), 14), 8, (6, 6))
SMALL_DATA = synthetic_samples(6, 3, 200, seed=1)
QUICK = TrainSettings(epochs=3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_federated_rounds_on_skewed_digits(seed: int) -> None:
    shape, trainer = DIGITS_SPEC.shape, find_trainer("mlp", entries=ENTRIES)
    split = split_digits(3, 0.5, seed)
    model = initial_model(DIGITS_SPEC, seed)
    settings = TrainSettings(value_limit_bits=EZKL_BITS)
    accuracies = []
    for number in range(3):
        thetas = [
            trainer.train(
                DIGITS_SPEC, model, data, settings, seed=100 * number + device, progress=no_progress
            )
            for device, data in enumerate(split.devices)
        ]
        model = GlobalModel(sum(thetas, np.zeros(shape.parameters, np.int64)), len(thetas))
        correct = count_correct(shape, model.theta, split.holdout.inputs, split.holdout.labels)
        accuracies.append(correct / split.holdout.size)
        for theta in (*thetas, model.theta):
            check_values(shape, theta, split.pool.inputs, EZKL_BITS - 3)
    assert accuracies[1] > 0.80
    assert accuracies[2] > 0.85


def test_quantized_accuracy_is_close_to_float() -> None:
    split = split_digits(1, 1.0, seed=0)
    data, holdout = split.devices[0], split.holdout
    start = initial_model(DIGITS_SPEC, 0)
    theta = MlpTrainer().train(
        DIGITS_SPEC, start, data, TrainSettings(), seed=1, progress=no_progress
    )
    unrounded = TrainSettings(quantization_aware=False)
    shadow = fit(DIGITS_SPEC, start, data, unrounded, seed=1, progress=no_progress)
    _, values = forward(DIGITS_SPEC, shadow, holdout.inputs, floor=False)
    in_float = float(np.mean(values[-1].argmax(axis=1) == holdout.labels))
    quantized = float(np.mean(predict(DIGITS_SPEC.shape, theta, holdout.inputs) == holdout.labels))
    assert quantized > in_float - 0.02
    assert quantized > 0.93


def test_training_sees_the_rounding_where_the_grid_is_coarse() -> None:
    spec = ModelSpec(DIGITS_SPEC.shape, 4, (1, 0))
    split = split_digits(1, 1.0, seed=0)
    correct = []
    for aware in (True, False):
        chosen = TrainSettings(epochs=15, quantization_aware=aware)
        theta = MlpTrainer().train(
            spec, initial_model(spec, 1), split.devices[0], chosen, seed=1, progress=no_progress
        )
        holdout = split.holdout
        correct.append(count_correct(spec.shape, theta, holdout.inputs, holdout.labels))
    assert correct[0] > 0.9 * split.holdout.size > 2 * correct[1]


def test_size_of_mnist_with_a_shift() -> None:
    data = synthetic_samples(784, 10, 300, seed=1, stream=1, noise=60)
    unseen = synthetic_samples(784, 10, 300, seed=1, stream=2, noise=60)
    start = initial_model(MNIST_SPEC, 1)
    theta = MlpTrainer().train(
        MNIST_SPEC, start, data, TrainSettings(epochs=6), seed=1, progress=no_progress
    )
    shape = MNIST_SPEC.shape
    assert count_correct(shape, theta, unseen.inputs, unseen.labels) > 0.9 * unseen.size
    assert max(peak_values(shape, theta, unseen.inputs)) < 1 << EZKL_BITS


def test_same_seed_same_theta() -> None:
    start = initial_model(SMALL, 1)
    first, again, other = (
        MlpTrainer().train(SMALL, start, SMALL_DATA, QUICK, seed=seed, progress=no_progress)
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_arguments_travel_to_a_child_process() -> None:
    arguments = (SMALL, initial_model(SMALL, 1), SMALL_DATA, QUICK)
    there = pickle.loads(pickle.dumps((MlpTrainer(), *arguments)))  # noqa: S301 - our own
    trainer, *copies = there
    found = trainer.train(*copies, seed=5, progress=no_progress)
    assert np.array_equal(found, MlpTrainer().train(*arguments, seed=5, progress=no_progress))


def test_training_starts_from_the_fixed_point_mean() -> None:
    start = initial_model(SMALL, 1)
    doubled = GlobalModel(2 * start.theta_sum, 2)
    one, two = (
        MlpTrainer().train(SMALL, model, SMALL_DATA, QUICK, seed=5, progress=no_progress)
        for model in (start, doubled)
    )
    assert np.array_equal(one, two)


@settings(max_examples=15)
@given(
    rate=st.floats(1e-4, 5.0),
    batch=st.integers(1, 300),
    proximal=st.floats(0, 2),
    bias_bits=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_any_settings_give_an_admissible_theta(
    rate: float, batch: int, proximal: float, bias_bits: int, seed: int
) -> None:
    spec = ModelSpec(Shape((6, 5, 4, 3), (4, 4), bias_bits), 8, (7, 7, 7))
    data = synthetic_samples(6, 3, 64, seed=2)
    chosen = TrainSettings(epochs=1, learning_rate=rate, batch_size=batch, proximal=proximal)
    theta = MlpTrainer().train(
        spec, initial_model(spec, 1), data, chosen, seed=seed, progress=no_progress
    )
    assert theta.dtype == np.int64
    check_bounds(spec.shape, theta)


def test_proximal_term_keeps_the_model_near_the_start() -> None:
    start = initial_model(SMALL, 1)
    distances = [
        np.linalg.norm(
            fit(SMALL, start, SMALL_DATA, TrainSettings(proximal=mu), seed=1, progress=no_progress)
            - fit(
                SMALL,
                start,
                SMALL_DATA,
                TrainSettings(learning_rate=1e-8),
                seed=1,
                progress=no_progress,
            )
        )
        for mu in (0.0, 10.0)
    ]
    assert distances[1] < distances[0] / 2


def test_penalty_keeps_values_below_the_limit_and_its_absence_is_reported() -> None:
    start = initial_model(SMALL, 1)
    free = MlpTrainer().train(
        SMALL, start, SMALL_DATA, TrainSettings(), seed=1, progress=no_progress
    )
    bits = max(peak_values(SMALL.shape, free, SMALL_DATA.inputs)).bit_length() - 1
    tight = TrainSettings(value_limit_bits=bits)
    theta = MlpTrainer().train(SMALL, start, SMALL_DATA, tight, seed=1, progress=no_progress)
    assert max(peak_values(SMALL.shape, theta, SMALL_DATA.inputs)) < 1 << bits
    loose = TrainSettings(value_limit_bits=bits, value_penalty=0.0)
    with pytest.raises(Rejected, match=f"at most {bits}") as caught:
        MlpTrainer().train(SMALL, start, SMALL_DATA, loose, seed=1, progress=no_progress)
    assert caught.value.reason is Reason.MODEL_OUT_OF_BOUNDS


def test_progress_rises_to_one_and_can_interrupt() -> None:
    start, seen = initial_model(SMALL, 1), list[float]()
    MlpTrainer().train(
        SMALL, start, SMALL_DATA, QUICK, seed=1, progress=lambda _, share: seen.append(share)
    )
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)

    def stop(_label: str, fraction: float) -> None:
        if fraction > 0.5:
            raise InterruptedError

    before = start.theta_sum.copy()
    with pytest.raises(InterruptedError):
        MlpTrainer().train(SMALL, start, SMALL_DATA, QUICK, seed=1, progress=stop)
    assert np.array_equal(start.theta_sum, before)


def test_start_of_another_shape_is_refused() -> None:
    with pytest.raises(Rejected, match="2410 parameters, the shape has 83"):
        MlpTrainer().train(
            SMALL, initial_model(DIGITS_SPEC, 1), SMALL_DATA, QUICK, seed=1, progress=no_progress
        )


def test_settings_report_all_errors_at_once() -> None:
    with pytest.raises(ValueError, match=r"epochs is 0.*learning_rate is nan.*batch_size is -1"):
        TrainSettings(epochs=0, learning_rate=float("nan"), batch_size=-1)


def test_unknown_trainer() -> None:
    with pytest.raises(Fatal, match=r"'forest'.*installed: mlp") as caught:
        find_trainer("forest", entries=ENTRIES)
    assert caught.value.exit_code is ExitCode.DEPENDENCY
