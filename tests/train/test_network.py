import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.initial import initial_model
from zkpot.model import ModelSpec, Shape, check_bounds, logits
from zkpot_agent.train.network import (
    backward,
    cross_entropy,
    forward,
    overshoot,
    scales,
    split,
)
from zkpot_agent.train.values import peak_values


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    hidden = draw(st.integers(0, 3))
    widths = [draw(st.integers(1, 9)) for _ in range(hidden + 2)]
    shape = Shape(
        tuple(widths),
        tuple(draw(st.integers(4, 8)) for _ in range(hidden)),
        draw(st.integers(8, 20)),
    )
    exponents = tuple(draw(st.integers(0, 9)) for _ in range(hidden + 1))
    return ModelSpec(shape, draw(st.integers(0, 8)), exponents)


@settings(max_examples=200)
@given(spec=specs(), seed=st.integers(0, 2**32))
def test_forward_pass_is_the_integer_inference(spec: ModelSpec, seed: int) -> None:
    generator = np.random.default_rng(seed)
    grid = scales(spec)
    parameters = grid.to_float(generator.normal(0, 90, spec.shape.parameters))
    grid.clip(parameters)
    theta = check_bounds(spec.shape, grid.to_theta(parameters))
    inputs = generator.integers(0, 256, (20, spec.shape.features)).astype(np.uint8)

    _, values = forward(spec, grid.round(parameters), inputs, floor=True)

    expected = logits(spec.shape, theta, inputs)
    assert np.array_equal(values[-1] * 2.0 ** spec.value_exponents[-1], expected)
    peaks = peak_values(spec.shape, theta, inputs)
    assert peaks[-2] == np.abs(expected).max()
    for exponent, found, peak in zip(spec.value_exponents, values, peaks, strict=False):
        assert np.abs(found).max() * 2.0**exponent == peak


def test_gradient_agrees_with_finite_differences() -> None:
    spec = ModelSpec(Shape((5, 6, 4, 3), (3, 2), 12), 4, (5, 5, 5))
    generator = np.random.default_rng(1)
    inputs = generator.integers(0, 16, (7, 5)).astype(np.uint8)
    labels = generator.integers(0, 3, 7).astype(np.uint8)
    parameters = scales(spec).to_float(initial_model(spec, 1).mean)
    parameters += generator.normal(0, 0.05, parameters.size)
    bits = 9

    def loss_at(point: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        _, values = forward(spec, point, inputs, floor=False)
        total = cross_entropy(values[-1], labels)[0]
        for layer, z in enumerate(values):
            quarter = 2.0 ** (bits - 2 - spec.value_exponents[layer])
            excess = np.maximum(np.abs(z) - quarter, 0)
            total += float((excess**2).sum()) / (2 * quarter * len(z))
        return total

    activations, values = forward(spec, parameters, inputs, floor=False)
    at_values = [overshoot(spec, layer, z, bits) for layer, z in enumerate(values)]
    assert any(gradient.any() for gradient in at_values), "the penalty takes part"
    at_values[-1] += cross_entropy(values[-1], labels)[1]
    found = backward(spec, parameters, activations, values, at_values)

    step = 1e-6
    expected = [
        (loss_at(parameters + step * unit) - loss_at(parameters - step * unit)) / (2 * step)
        for unit in np.eye(parameters.size)
    ]
    assert np.allclose(found, expected, atol=1e-6)


def test_split_gives_views_in_the_order_of_theta() -> None:
    shape = Shape((2, 3, 2), (0,), 8)
    vector = np.arange(shape.parameters, dtype=np.float64)
    (first, bias), (second, _) = split(shape, vector)
    assert first.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert bias.tolist() == [6, 7, 8]
    second[:] = 0
    assert vector[9:15].sum() == 0


def test_initial_model_is_admissible_and_seeded() -> None:
    spec = ModelSpec(Shape((400, 50, 4), (2,), 10), 8, (6, 6))
    model = initial_model(spec, 3)
    theta = check_bounds(spec.shape, model.theta)
    assert np.array_equal(theta, initial_model(spec, 3).theta)
    assert not np.array_equal(theta, initial_model(spec, 4).theta)
    (first, bias), _ = split(spec.shape, model.mean)
    assert abs(first.std() / 64 - np.sqrt(2 / 400)) < 0.005
    assert not bias.any()
