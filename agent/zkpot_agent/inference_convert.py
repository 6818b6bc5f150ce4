"""The global model in the format of another runtime; run in a child process by the service."""

import importlib.util
from enum import StrEnum, unique

from zkpot.aggregate import decode_global_model
from zkpot.model import Int64Array, Shape
from zkpot.proof.system import Progress


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
