import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.datasets import DIGITS_SPEC, MNIST_SPEC
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.initial import initial_model
from zkpot.model import Shape, logits
from zkpot_agent.export.bounds import INT32_LIMIT, check_int32, worst_values
from zkpot_agent.export.graph import Graph
from zkpot_agent.export.litert import LiteRtModel
from zkpot_agent.export.onnx_model import to_onnx
from zkpot_agent.export.tflite_model import to_tflite
from zkpot_agent.train.values import peak_values

SHAPE = Shape((3, 2), (), 8)
THETA = np.arange(SHAPE.parameters, dtype=np.int64)


@settings(max_examples=150)
@given(
    widths=st.lists(st.integers(1, 8), min_size=2, max_size=4),
    shift=st.integers(0, 6),
    reach=st.integers(1, 127),
    seed=st.integers(0, 2**32),
)
def test_worst_values_are_never_exceeded(
    widths: list[int], shift: int, reach: int, seed: int
) -> None:
    shape = Shape(tuple(widths), (shift,) * (len(widths) - 2), 8)
    generator = np.random.default_rng(seed)
    theta = generator.integers(-reach, reach + 1, shape.parameters).astype(np.int64)
    inputs = generator.choice([0, 1, 128, 255], (64, shape.features)).astype(np.uint8)
    peaks, worst = peak_values(shape, theta, inputs), worst_values(shape, theta)
    assert all(peak <= bound for peak, bound in zip(peaks, worst, strict=False))
    bits = [bound.bit_length() for bound in worst]
    assert all(found <= allowed for found, allowed in zip(bits, shape.value_bits, strict=True))


def test_worst_values_are_reached_by_a_single_layer() -> None:
    shape = Shape((2, 2), (), 8)
    theta = np.array([100, -100, 50, -60, 7, -8], np.int64)
    inputs = np.full((1, 2), 255, np.uint8)
    assert worst_values(shape, theta) == (np.abs(logits(shape, theta, inputs)).max(),)


def test_specs_are_judged_by_the_actual_weights() -> None:
    for spec in (DIGITS_SPEC, MNIST_SPEC):
        theta = initial_model(spec, 1).theta
        assert max(spec.shape.value_bits) > 31
        assert max(worst_values(spec.shape, theta)) < INT32_LIMIT
        assert check_int32(spec.shape, theta) is theta


def test_theta_out_of_bounds_is_not_exported() -> None:
    theta = THETA.copy()
    theta[0] = 128
    for write in (to_tflite, to_onnx):
        with pytest.raises(Rejected, match="weight") as caught:
            write(SHAPE, theta)
        assert caught.value.reason is Reason.OUT_OF_RANGE


def test_files_are_deterministic_and_small() -> None:
    theta = initial_model(DIGITS_SPEC, 1).theta
    for write in (to_tflite, to_onnx):
        data = write(DIGITS_SPEC.shape, theta)
        assert data == write(DIGITS_SPEC.shape, theta)
        assert len(data) < 2 * theta.size + 4000


def test_any_number_of_rows_and_repeated_use() -> None:
    model = LiteRtModel(to_tflite(MNIST_SPEC.shape, initial_model(MNIST_SPEC, 1).theta))
    inputs = np.random.default_rng(1).integers(0, 256, (45, 784)).astype(np.uint8)
    whole = model.logits(inputs)
    assert np.array_equal(
        np.concatenate([model.logits(inputs[:1]), model.logits(inputs[1:])]), whole
    )
    assert model.logits(inputs[:0]).shape == (0, 10)
    assert model.labels(inputs[:0]).shape == (0,)


@pytest.mark.parametrize(
    "inputs", [np.zeros((2, 4), np.uint8), np.zeros((2, 3)), np.zeros(3, np.uint8)]
)
def test_inputs_of_another_kind_are_refused(
    inputs: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    model = LiteRtModel(to_tflite(SHAPE, THETA))
    with pytest.raises(ValueError, match=r"expected \[N, 3\]"):
        model.logits(inputs)


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x1c\x00\x00\x00TFL3" + bytes(40)])
def test_broken_file_is_rejected(data: bytes) -> None:
    with pytest.raises(Rejected, match="usable") as caught:
        LiteRtModel(data)
    assert caught.value.reason is Reason.MALFORMED


def test_truncated_file_is_rejected() -> None:
    data = to_tflite(SHAPE, THETA)
    for length in range(0, len(data) - 64, 97):
        with pytest.raises(Rejected):
            LiteRtModel(data[:length])


def test_model_of_another_kind_is_rejected() -> None:
    graph = Graph()
    inputs = graph.tensor("inputs", (-1, 3), np.int32)
    zero = graph.constant("zero", np.array([0], np.int32))
    result = graph.tensor("result", (-1, 3), np.int32)
    graph.operator("MAXIMUM", [inputs, zero], result, "MaximumMinimumOptions")
    with pytest.raises(Rejected, match="expected uint8 to int32"):
        LiteRtModel(graph.build([inputs], [result], "another kind"))


@pytest.mark.parametrize(
    ("missing", "action"),
    [
        (["ai_edge_litert"], lambda: to_tflite(SHAPE, THETA)),
        (["flatbuffers"], lambda: to_tflite(SHAPE, THETA)),
        (["onnx"], lambda: to_onnx(SHAPE, THETA)),
        (["ai_edge_litert", "tflite_runtime"], lambda: LiteRtModel(b"")),
    ],
)
def test_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], action: object
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    assert callable(action)
    with pytest.raises(Fatal, match=r"pip install 'zkpot\[litert\]'") as caught:
        action()
    assert caught.value.exit_code is ExitCode.DEPENDENCY
