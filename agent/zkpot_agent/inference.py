"""A model from a file or by its CID, and the labels it gives.

The encoded global model holds integers only; its shape comes from the task's manifest, which
the service keeps beside it. Files of other runtimes carry their own shape.
"""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zkpot.aggregate import decode_global_model
from zkpot.cid import Cid, cid_from_text, cid_text, join_object, split_object
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.model import Int64Array, Shape, UInt8Array, predict
from zkpot.task import decode_task
from zkpot_agent.blocks import BLOCK_PREFIX
from zkpot_agent.config import JOURNAL_FILE, AgentConfig
from zkpot_agent.inference_input import Inputs

MODEL_FILE = "global-model.cbor"
TASK_FILE = "task.cbor"
"""The task's manifest, beside the global model."""


class Labels(Protocol):
    """Labels [N] of inputs [N, features]; the lowest index wins ties."""

    def __call__(self, inputs: UInt8Array, /) -> Int64Array:
        """See the class."""
        ...


@dataclass(frozen=True)
class IntegerModel:
    """The integers of a global model: what the reference inference and the exports take."""

    shape: Shape
    theta: Int64Array

    def labels(self, inputs: UInt8Array, /) -> Int64Array:
        """See `Labels`."""
        if inputs.shape[1:] != (self.shape.features,):
            raise Rejected(
                Reason.MODEL_MISMATCH,
                f"inputs have {inputs.shape[1]} columns, the model takes {self.shape.features}",
            )
        return predict(self.shape, self.theta, inputs)


def open_labels(model: str, config: AgentConfig | None, task_file: Path | None) -> Labels:
    """What turns inputs into labels; `model` is a file, or a CID this device still holds.

    Raises `Fatal` (CONFIG) for a file that cannot be read, (DEPENDENCY) for one whose runtime
    is not installed, and `Rejected` for a model that is malformed or not here.
    """
    path = Path(model)
    if path.suffix == ".tflite":
        from zkpot_agent.export.litert import LiteRtModel  # noqa: PLC0415 - optional

        return _checked(LiteRtModel(_read(path)).labels)
    if path.suffix == ".onnx":
        return _onnx_labels(_read(path))
    return open_model(model, config, task_file).labels


def open_model(model: str, config: AgentConfig | None, task_file: Path | None) -> IntegerModel:
    """The integers of a `.cbor` file or of a CID; raises like `open_labels`."""
    path = Path(model)
    if path.suffix or os.path.exists(path):  # noqa: PTH110  (False where a name is too long)
        data, beside = _read(path), path.parent / TASK_FILE
    else:
        if config is None:
            raise Fatal(ExitCode.CONFIG, "a model by its CID needs --config: where to look")
        data, beside = _find(cid_from_text(model), config), config.model_dir / TASK_FILE
    if task_file is None and not beside.exists() and config is not None:
        beside = config.model_dir / TASK_FILE
    shape = decode_task(_read(task_file or beside)).model.shape
    return IntegerModel(shape, decode_global_model(shape, data).theta)


def infer(
    model: str, inputs: Inputs, config: AgentConfig | None, task_file: Path | None
) -> dict[str, Any]:
    """The documented JSON object: labels, and how many are right if the inputs are labelled."""
    labels = open_labels(model, config, task_file)(inputs.values)
    facts: dict[str, Any] = {"samples": len(labels), "labels": labels.tolist()}
    if inputs.labels is not None:
        facts["correct"] = int(np.count_nonzero(labels == inputs.labels))
    return facts


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Fatal(ExitCode.CONFIG, f"cannot read {path}: {error.strerror}") from error


def _find(cid: Cid, config: AgentConfig) -> bytes:
    """The published model if it is this one, else what the round under way has fetched."""
    published = config.model_dir / MODEL_FILE
    if published.exists() and split_object(data := published.read_bytes())[0] == cid:
        return data
    journal = config.state_dir / JOURNAL_FILE

    def get(block: Cid) -> bytes:
        row = connection.execute(
            "SELECT value FROM states WHERE key = ?", (BLOCK_PREFIX + cid_text(block),)
        ).fetchone()
        if row is None:
            raise Rejected(Reason.NOT_FOUND, f"this device does not hold {cid_text(cid)} any more")
        found: bytes = row[0]
        return found

    try:
        connection = sqlite3.connect(config.journal_uri, uri=True)
        try:
            return join_object(cid, get)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Fatal(ExitCode.STATE, f"cannot read {journal}: has the agent run?") from error


def _onnx_labels(data: bytes) -> Labels:
    try:
        import onnx  # noqa: PLC0415 - optional, and slow to import
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - optional
    except ImportError as error:
        raise Fatal(
            ExitCode.DEPENDENCY, "running .onnx needs onnx: pip install 'zkpot[litert]'"
        ) from error
    try:
        evaluator: Any = ReferenceEvaluator(onnx.load_model_from_string(data))
    except Exception as error:
        # protobuf's DecodeError and whatever onnx makes of nonsense share no other base.
        raise Rejected(Reason.MALFORMED, f"not a usable .onnx model: {error}") from error

    def labels(inputs: UInt8Array, /) -> Int64Array:
        (found,) = evaluator.run(None, {evaluator.input_names[0]: inputs})
        chosen: Int64Array = np.argmax(found, axis=1).astype(np.int64)
        return chosen

    return _checked(labels)


def _checked(labels: Callable[[UInt8Array], Int64Array]) -> Labels:
    """A runtime's complaint about the inputs, or of a damaged model, as our own."""

    def run(inputs: UInt8Array, /) -> Int64Array:
        try:
            return labels(inputs)
        except Exception as error:
            # What runtimes raise, like a KeyError for a type that there is not, shares no base.
            detail = f"{type(error).__name__}: {error}"
            raise Rejected(Reason.MODEL_MISMATCH, detail) from error

    return run
