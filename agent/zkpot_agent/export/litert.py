"""Running a .tflite model on the device with LiteRT.

`ai-edge-litert` where it is installed, else the older `tflite-runtime`. Delegates stay off:
they may compute in float, and LiteRT aborts with them under emulation.
"""

import math
from typing import Any

import numpy as np

from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.model import Int64Array, UInt8Array

CHUNK_VALUES = 1 << 20
"""The largest intermediate tensor of one invocation: 4 MiB of int32, whatever N is."""


class LiteRtModel:
    """A loaded model; `data` are the bytes of a .tflite file that `to_tflite` made.

    Raises `Fatal` with DEPENDENCY if no runtime is installed, `Rejected` with MALFORMED if the
    file does not load or is of another kind.
    """

    def __init__(self, data: bytes, threads: int = 1) -> None:
        runtime = _runtime()
        try:
            self._interpreter = runtime.Interpreter(
                model_content=data,
                num_threads=threads,
                experimental_op_resolver_type=(
                    runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                ),
            )
            (self._input,) = self._interpreter.get_input_details()
            (self._output,) = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise Rejected(Reason.MALFORMED, f"not a usable .tflite model: {error}") from error
        if self._input["dtype"] is not np.uint8 or self._output["dtype"] is not np.int32:
            raise Rejected(
                Reason.MALFORMED,
                f"the model maps {self._input['dtype']} to {self._output['dtype']}, "
                "expected uint8 to int32",
            )
        self.features = int(self._input["shape"][1])
        largest = max(math.prod(item["shape"]) for item in self._interpreter.get_tensor_details())
        self._rows = max(CHUNK_VALUES // int(largest), 1)

    def logits(self, inputs: UInt8Array) -> Int64Array:
        """Logits [N, classes] of `inputs` [N, features], uint8."""
        if inputs.dtype != np.uint8 or inputs.shape[1:] != (self.features,):
            raise ValueError(f"inputs {inputs.dtype} {inputs.shape}, expected [N, {self.features}]")
        classes = int(self._output["shape"][1])
        found = np.empty((len(inputs), classes), np.int64)
        for start in range(0, len(inputs), self._rows):
            end = start + self._rows
            found[start:end] = self._invoke(inputs[start:end])
        return found

    def labels(self, inputs: UInt8Array) -> Int64Array:
        """Labels [N]; the lowest index wins ties."""
        labels: Int64Array = np.argmax(self.logits(inputs), axis=1).astype(np.int64)
        return labels

    def _invoke(self, inputs: UInt8Array) -> Int64Array:
        self._interpreter.resize_tensor_input(self._input["index"], inputs.shape)
        self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input["index"], inputs)
        self._interpreter.invoke()
        found: Int64Array = self._interpreter.get_tensor(self._output["index"]).astype(np.int64)
        return found


def evaluate(data: bytes, inputs: UInt8Array) -> Int64Array:
    """Labels [N] that the model file `data` gives to `inputs` [N, features]."""
    return LiteRtModel(data).labels(inputs)


def _runtime() -> Any:
    try:
        from ai_edge_litert import interpreter  # noqa: PLC0415 - optional
    except ImportError:
        try:
            from tflite_runtime import interpreter  # noqa: PLC0415 - optional
        except ImportError as error:
            raise Fatal(
                ExitCode.DEPENDENCY,
                "running .tflite needs LiteRT: pip install 'zkpot[litert]' "
                "(or 'zkpot[tflite]' on Python 3.11)",
            ) from error
    return interpreter
