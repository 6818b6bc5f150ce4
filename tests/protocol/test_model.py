"""The reference inference, against one written without arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.strategies import shapes

from zkpot.errors import Reason, Rejected
from zkpot.initial import initial_model
from zkpot.model import (
    INPUT_MAX,
    MAX_CLASSES,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Int64Array,
    ModelSpec,
    Shape,
    UInt8Array,
    check_bounds,
    count_correct,
    join_theta,
    logits,
    predict,
    split_theta,
)


def _plain_logits(shape: Shape, theta: list[int], sample: list[int]) -> list[list[int]]:
    """Every layer's Z of one sample, in unbounded Python integers."""
    values, position, activation = [], 0, sample
    for layer, (inputs, outputs) in enumerate(zip(shape.widths, shape.widths[1:], strict=False)):
        z = []
        for column in range(outputs):
            total = theta[position + inputs * outputs + column]
            for row in range(inputs):
                total += activation[row] * theta[position + row * outputs + column]
            z.append(total)
        values.append(z)
        position += (inputs + 1) * outputs
        if layer < len(shape.shifts):
            activation = [max(each, 0) >> shape.shifts[layer] for each in z]
    assert position == len(theta)
    return values


def _plain_label(scores: list[int]) -> int:
    best = 0
    for index, score in enumerate(scores):
        if score > scores[best]:
            best = index
    return best


def _random_theta(shape: Shape, generator: np.random.Generator, *, extreme: bool) -> Int64Array:
    limit = 1 << shape.bias_bits
    layers = []
    for layer in split_theta(shape, np.zeros(shape.parameters, np.int64)):
        if extreme:
            weights = generator.choice([WEIGHT_MIN, WEIGHT_MAX], layer.weights.shape)
            biases = generator.choice([-limit, limit - 1], layer.biases.shape)
        else:
            weights = generator.integers(WEIGHT_MIN, WEIGHT_MAX + 1, layer.weights.shape)
            biases = generator.integers(-limit, limit, layer.biases.shape)
        layers.append(type(layer)(weights.astype(np.int64), biases.astype(np.int64)))
    return join_theta(tuple(layers))


@settings(max_examples=80)
@given(shape=shapes(6), seed=st.integers(0, 2**32), extreme=st.booleans())
def test_inference_agrees_with_plain_integers(shape: Shape, seed: int, extreme: bool) -> None:
    generator = np.random.default_rng(seed)
    theta = _random_theta(shape, generator, extreme=extreme)
    check_bounds(shape, theta)
    inputs = generator.integers(0, 256, (7, shape.features)).astype(np.uint8)
    labels = generator.integers(0, shape.classes, 7).astype(np.uint8)
    plain = [_plain_logits(shape, theta.tolist(), sample) for sample in inputs.tolist()]
    assert logits(shape, theta, inputs).tolist() == [values[-1] for values in plain]
    predicted = [_plain_label(values[-1]) for values in plain]
    assert predict(shape, theta, inputs).tolist() == predicted
    correct = sum(a == b for a, b in zip(predicted, labels.tolist(), strict=True))
    assert count_correct(shape, theta, inputs, labels) == correct
    for values in plain:
        for bits, layer in zip(shape.value_bits, values, strict=True):
            assert max(map(abs, layer)) < 1 << bits


@settings(max_examples=40)
@given(shape=shapes(4))
def test_the_bounds_hold_for_the_worst_model(shape: Shape) -> None:
    """All inputs and weights of the first layer at their largest."""
    layers = split_theta(shape, np.full(shape.parameters, WEIGHT_MAX, np.int64))
    sample = [INPUT_MAX] * shape.features
    for values, bits in zip(
        _plain_logits(shape, join_theta(layers).tolist(), sample), shape.value_bits, strict=True
    ):
        assert max(values) < 1 << bits


def _labelled(labels: list[int]) -> tuple[UInt8Array, UInt8Array]:
    return np.zeros((len(labels), 2), np.uint8), np.array(labels, np.uint8)


@pytest.mark.parametrize("bias", [0, 5, -5])
def test_models_whose_logits_tie_count_only_label_0(bias: int) -> None:
    shape = Shape((2, 3), (), 8)
    theta = np.zeros(shape.parameters, np.int64)
    theta[-3:] = bias
    inputs, labels = _labelled([0, 1, 2, 0])
    assert count_correct(shape, theta, inputs, labels) == 2


def test_of_the_labels_that_tie_the_lowest_wins() -> None:
    shape = Shape((2, 3), (), 8)
    theta = np.array([0] * 6 + [1, 2, 2])
    inputs, labels = _labelled([0, 1, 2])
    assert predict(shape, theta, inputs).tolist() == [1, 1, 1]
    assert count_correct(shape, theta, inputs, labels) == 1


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 128), (0, -129), (5, 128), (6, 256), (6, -257), (8, 256), (9, 128), (-1, 256)],
)
def test_parameters_out_of_bounds_are_rejected(position: int, value: int) -> None:
    shape = Shape((2, 3, 2), (1,), 8)
    theta = np.zeros(shape.parameters, np.int64)
    theta[position] = value
    with pytest.raises(Rejected) as caught:
        check_bounds(shape, theta)
    assert caught.value.reason is Reason.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("position", "value"), [(0, 127), (0, -128), (6, 255), (6, -256), (-1, -256), (-1, 255)]
)
def test_the_bounds_themselves_are_allowed(position: int, value: int) -> None:
    shape = Shape((2, 3, 2), (1,), 8)
    theta = np.zeros(shape.parameters, np.int64)
    theta[position] = value
    assert check_bounds(shape, theta) is theta


@pytest.mark.parametrize("length", [0, 16, 18])
def test_another_length_is_no_model(length: int) -> None:
    with pytest.raises(Rejected) as caught:
        check_bounds(Shape((2, 3, 2), (1,), 8), np.zeros(length, np.int64))
    assert caught.value.reason is Reason.MODEL_OUT_OF_BOUNDS


@pytest.mark.parametrize(
    ("widths", "shifts", "bias_bits"),
    [
        ((), (), 8),
        ((4,), (), 8),
        ((4, 3), (1,), 8),
        ((4, 3, 2), (), 8),
        ((4, 3, 2), (1, 1), 8),
        ((4, MAX_CLASSES + 1), (), 8),
        ((4, 3, 2), (40,), 8),
        ((1 << 16, 1 << 16, 2), (0,), 8),
        ((784, 128, 64, 32, 10), (0, 0, 0), 20),
    ],
)
def test_shapes_out_of_bounds_are_rejected(
    widths: tuple[int, ...], shifts: tuple[int, ...], bias_bits: int
) -> None:
    with pytest.raises(Rejected) as caught:
        Shape(widths, shifts, bias_bits)
    assert caught.value.reason is Reason.MODEL_OUT_OF_BOUNDS


def test_a_spec_has_one_exponent_per_layer() -> None:
    shape = Shape((4, 3, 2), (2,), 8)
    assert ModelSpec(shape, 8, (6, 5)).value_exponents == (14, 17)
    with pytest.raises(Rejected) as caught:
        ModelSpec(shape, 8, (6,))
    assert caught.value.reason is Reason.MODEL_OUT_OF_BOUNDS


def test_theta_is_split_and_joined() -> None:
    shape = Shape((2, 3, 2), (1,), 8)
    theta = np.arange(shape.parameters, dtype=np.int64)
    first, last = split_theta(shape, theta)
    assert first.weights.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert first.biases.tolist() == [6, 7, 8]
    assert last.biases.tolist() == [15, 16]
    assert join_theta((first, last)).tolist() == theta.tolist()


def test_the_initial_model_is_admissible_and_follows_from_its_seed() -> None:
    spec = ModelSpec(Shape((64, 32, 10), (6,), 16), 8, (6, 6))
    first = initial_model(spec, 1)
    check_bounds(spec.shape, first.theta)
    assert first.weight == 1
    assert first.encode() == initial_model(spec, 1).encode() != initial_model(spec, 2).encode()
