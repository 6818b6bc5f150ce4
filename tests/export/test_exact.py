"""Reference inference, LiteRT and the ONNX reference evaluator agree on every logit.

And the proof counts what they count.
"""

from dataclasses import replace

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, MNIST_SPEC, split_digits
from zkpot.errors import Rejected
from zkpot.ids import Digest
from zkpot.initial import initial_model
from zkpot.model import Int64Array, Shape, UInt8Array, count_correct, logits, predict
from zkpot.proof.system import ModelOpening, no_progress
from zkpot.statement import Statement
from zkpot_agent.export.bounds import INT32_LIMIT, worst_values
from zkpot_agent.export.litert import LiteRtModel, evaluate
from zkpot_agent.export.onnx_model import to_onnx
from zkpot_agent.export.tflite_model import to_tflite
from zkpot_agent.train.mlp import MlpTrainer
from zkpot_agent.train.trainer import TrainSettings

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
litert = pytest.importorskip("ai_edge_litert.interpreter")
pytest.importorskip("zkpot_prover")
from zkpot.proof.sumcheck import SumcheckSystem  # noqa: E402  (needs the native prover)

pytestmark = pytest.mark.prover

ROWS = 16


def _run_onnx(data: bytes, inputs: UInt8Array) -> Int64Array:
    evaluator = reference.ReferenceEvaluator(onnx.load_from_string(data))
    (found,) = evaluator.run(None, {"inputs": inputs})
    assert found.dtype == np.int64
    return np.asarray(found)


def _random_model(generator: np.random.Generator) -> tuple[Shape, Int64Array]:
    """Any depth, widths and shifts; weights from all zero, where all tie, to all of int8."""
    hidden = int(generator.integers(0, 5))
    widths = tuple(int(width) for width in generator.integers(1, 20, hidden + 2))
    shifts = tuple(int(shift) for shift in generator.integers(0, 9, hidden))
    try:
        shape = Shape(widths, shifts, int(generator.integers(1, 20)))
    except Rejected:
        return _random_model(generator)
    reach = int(generator.choice([0, 1, 3, 20, 128]))
    theta = generator.integers(-reach, max(reach, 1), shape.parameters)
    start = 0
    for inputs, outputs in shape.layers:
        start += inputs * outputs
        limit = min(1 << shape.bias_bits, max(reach, 1) ** 2)
        theta[start : start + outputs] = generator.integers(-limit, limit, outputs)
        start += outputs
    return shape, theta.astype(np.int64)


def _random_inputs(generator: np.random.Generator, shape: Shape) -> UInt8Array:
    inputs = generator.integers(0, 256, (ROWS, shape.features)).astype(np.uint8)
    inputs[0], inputs[1] = 0, 255
    return inputs


def _random_labels(
    generator: np.random.Generator, shape: Shape, theta: Int64Array, inputs: UInt8Array
) -> UInt8Array:
    """About half of them right."""
    labels = predict(shape, theta, inputs)
    wrong = generator.random(len(labels)) < 0.5
    labels[wrong] = generator.integers(0, shape.classes, wrong.sum())
    return labels.astype(np.uint8)


def _see_proven(shape: Shape, theta: Int64Array, batch: Batch, count: int) -> None:
    """The prover counts by itself: it refuses any other count, and so does the verifier."""
    system = SumcheckSystem(shape, batch.size)
    opening = ModelOpening(theta, system.commitments.random_blinding())
    commitment = system.commitments.commit(opening)
    statement = Statement(commitment, batch, Digest(bytes(32)), count)
    proof = system.prove(statement, opening, no_progress)
    system.verify(statement, proof)
    other = replace(statement, count=count - 1 if count else 1)
    with pytest.raises(Rejected):
        system.verify(other, proof)


@pytest.mark.parametrize("seed", range(10))
def test_50_random_models(seed: int) -> None:
    """LiteRT, ONNX, the reference and the proof count alike: with ten seeds on 500 models."""
    generator = np.random.default_rng([2026, seed])
    written, tied = 0, 0
    while written < 50:
        shape, theta = _random_model(generator)
        inputs = _random_inputs(generator, shape)
        batch = Batch(inputs, _random_labels(generator, shape, theta, inputs))
        expected = logits(shape, theta, inputs)
        count = count_correct(shape, theta, inputs, batch.labels)
        assert np.array_equal(_run_onnx(to_onnx(shape, theta), inputs), expected)
        _see_proven(shape, theta, batch, count)
        if max(worst_values(shape, theta)) >= INT32_LIMIT:
            with pytest.raises(Rejected, match="TFLite computes with 32"):
                to_tflite(shape, theta)
            continue
        model = LiteRtModel(to_tflite(shape, theta))
        assert np.array_equal(model.logits(inputs), expected), (shape, theta)
        assert np.count_nonzero(model.labels(inputs) == batch.labels) == count
        written += 1
        tied += int(((expected == expected.max(axis=1, keepdims=True)).sum(axis=1) > 1).any())
    assert tied >= 5


def test_values_up_to_the_last_bit_of_int32() -> None:
    generator = np.random.default_rng(1)
    shape = Shape((4, 1, 2), (0,), 30)
    top = (1 << 30) - 1
    for weights in ([127, 127, 127, 127], [127, -128, 127, -128], [-128] * 4):
        for bias in (top, -top, 0):
            theta = np.array([*weights, bias, 1, -1, top - 260_000, 0], np.int64)
            assert max(worst_values(shape, theta)) < INT32_LIMIT
            inputs = _random_inputs(generator, shape)
            found = LiteRtModel(to_tflite(shape, theta)).logits(inputs)
            assert np.array_equal(found, logits(shape, theta, inputs))
    theta = np.array([127, 127, 127, 127, top, 2, 0, top, 0], np.int64)
    with pytest.raises(Rejected, match="layer 2 can reach"):
        to_tflite(shape, theta)


@pytest.mark.parametrize("shift", [1, 7, 29, 30, 31, 32, 33])
def test_every_shift(shift: int) -> None:
    # A small second shift needs a large first one to stay admissible.
    shape = Shape((40, 30, 20, 3), (0 if shift > 20 else 12, shift), 30)
    generator = np.random.default_rng(shift)
    theta = generator.integers(-3, 60, shape.parameters).astype(np.int64)
    assert max(worst_values(shape, theta)) < INT32_LIMIT
    inputs = _random_inputs(generator, shape)
    expected = logits(shape, theta, inputs)
    assert np.array_equal(LiteRtModel(to_tflite(shape, theta)).logits(inputs), expected)
    assert np.array_equal(_run_onnx(to_onnx(shape, theta), inputs), expected)


def test_trained_digits_on_all_samples() -> None:
    shape, split = DIGITS_SPEC.shape, split_digits(1, 1.0, seed=1)
    theta = MlpTrainer().train(
        DIGITS_SPEC,
        initial_model(DIGITS_SPEC, 1),
        split.devices[0],
        TrainSettings(),
        seed=1,
        progress=no_progress,
    )
    data, graph = to_tflite(shape, theta), to_onnx(shape, theta)
    for part in (*split.devices, split.pool, split.holdout):
        expected = logits(shape, theta, part.inputs)
        assert np.array_equal(LiteRtModel(data).logits(part.inputs), expected)
        assert np.array_equal(_run_onnx(graph, part.inputs), expected)
        assert np.array_equal(evaluate(data, part.inputs), predict(shape, theta, part.inputs))
        count = count_correct(shape, theta, part.inputs, part.labels)
        assert np.count_nonzero(evaluate(data, part.inputs) == part.labels) == count
        _see_proven(shape, theta, part, count)


@pytest.mark.parametrize("options", [{}, {"num_threads": 2}])
def test_default_delegates_are_exact_too(options: dict[str, int]) -> None:
    """An application may load the file in the ordinary way."""
    generator = np.random.default_rng(4)
    for spec in (DIGITS_SPEC, MNIST_SPEC):
        theta = initial_model(spec, 4).theta
        inputs = _random_inputs(generator, spec.shape)
        interpreter = litert.Interpreter(model_content=to_tflite(spec.shape, theta), **options)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], inputs.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert np.array_equal(found, logits(spec.shape, theta, inputs))
