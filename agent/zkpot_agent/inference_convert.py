"""The global model in the format of another runtime; run in a child process by the service."""

import importlib.util
from enum import StrEnum, unique
from pathlib import Path

import numpy as np

from zkpot.aggregate import decode_global_model
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.files import WORLD, replace_file
from zkpot.model import INPUT_MAX, Int64Array, Shape, logits
from zkpot.proof.system import Progress
from zkpot_agent.config import AgentConfig
from zkpot_agent.inference import MODEL_FILE, open_model


@unique
class ModelFormat(StrEnum):
    """What `zkpot-agent export` writes."""

    TFLITE = "tflite"
    ONNX = "onnx"


def litert_installed() -> bool:
    """Whether .tflite files can be written here."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def convert(shape: Shape, theta: Int64Array, to: ModelFormat) -> bytes:
    """The bytes of a model file, bit-exact with the integers.

    Raises `Fatal` (DEPENDENCY) if what writes it is not installed, `Rejected` if the format
    cannot hold the model.
    """
    if to is ModelFormat.TFLITE:
        from zkpot_agent.export.tflite_model import to_tflite  # noqa: PLC0415 - optional

        return to_tflite(shape, theta)
    from zkpot_agent.export.onnx_model import to_onnx  # noqa: PLC0415 - optional

    return to_onnx(shape, theta)


def convert_global_model(_progress: Progress, shape: Shape, data: bytes, to: ModelFormat) -> bytes:
    """`convert` for an encoded global model."""
    return convert(shape, decode_global_model(shape, data).theta, to)


def export_model(
    to: str, output: Path, model: str | None, config: AgentConfig | None, task_file: Path | None
) -> int:
    """Writes `model`, by default the latest, as `to` says; returns the size in bytes.

    Raises `Fatal` (USAGE) for an unknown format or if nothing says which model, else like
    `open_model` and `convert`.
    """
    if to not in list(ModelFormat):
        raise Fatal(ExitCode.USAGE, f"--format {to}: expected {' or '.join(ModelFormat)}")
    if model is None:
        if config is None:
            raise Fatal(ExitCode.USAGE, "give --model, or --config for the latest")
        model = str(config.model_dir / MODEL_FILE)
    found = open_model(model, config, task_file)
    data = convert(found.shape, found.theta, ModelFormat(to))
    try:
        replace_file(output, data, WORLD)
    except OSError as error:
        raise Fatal(ExitCode.FAILURE, f"cannot write {output}: {error.strerror}") from error
    return len(data)


def try_litert(_progress: Progress) -> int:
    """Writes a small model, runs it, compares with the reference; returns how many logits.

    Raises `Rejected` (MODEL_MISMATCH) if this device's LiteRT computes something else.
    """
    from zkpot_agent.export.litert import LiteRtModel  # noqa: PLC0415 - optional

    shape = Shape((6, 5, 3), (4,), 12)
    generator = np.random.default_rng(0)
    theta = generator.integers(-128, 128, shape.parameters)
    inputs = generator.integers(0, INPUT_MAX + 1, (32, shape.features)).astype(np.uint8)
    found = LiteRtModel(convert(shape, theta, ModelFormat.TFLITE)).logits(inputs)
    if not np.array_equal(found, logits(shape, theta, inputs)):
        raise Rejected(Reason.MODEL_MISMATCH, "LiteRT does not compute what was proven")
    return found.size
