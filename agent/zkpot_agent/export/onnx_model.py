"""The integer model as an .onnx file, bit-exact with the reference inference.

Cast, MatMul, Add, Max and Div on int64: wide enough for every admissible shape, so any model
can be written. Div truncates, which equals the shift where values are not negative. Weights
are stored as int8.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zkpot import __version__
from zkpot.errors import ExitCode, Fatal
from zkpot.model import Int64Array, Shape, check_bounds, split_theta

OPSET = 13
"""The first with Max on int64; MatMul has integers since 9 and Div since 7."""

IR_VERSION = 8
"""Old enough for runtimes of 2021 and later."""


def to_onnx(shape: Shape, theta: Int64Array) -> bytes:
    """A graph from `inputs` uint8 [N, features] to `logits` int64 [N, classes], any N.

    The label is the index of the largest logit, the lowest on ties. Raises `Rejected` if theta
    is out of bounds and `Fatal` with DEPENDENCY if onnx is not installed.
    """
    onnx = _onnx()
    check_bounds(shape, theta)
    constants: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, values: NDArray[np.generic]) -> str:
        constants.append(onnx.numpy_helper.from_array(values, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        nodes.append(onnx.helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    values = node("Cast", ["inputs"], "activations0", to=onnx.TensorProto.INT64)
    for number, layer in enumerate(split_theta(shape, theta)):
        narrow = constant(f"weights{number}", layer.weights.astype(np.int8))
        wide = node("Cast", [narrow], f"weights{number}_wide", to=onnx.TensorProto.INT64)
        products = node("MatMul", [values, wide], f"products{number}")
        last = number == len(shape.shifts)
        biases = constant(f"biases{number}", layer.biases)
        values = node("Add", [products, biases], "logits" if last else f"values{number}")
        if not last:
            zero = constant(f"zero{number}", np.array([0], np.int64))
            values = node("Max", [values, zero], f"relu{number}")
            divisor = constant(f"divisor{number}", np.array([1 << shape.shifts[number]], np.int64))
            values = node("Div", [values, divisor], f"activations{number + 1}")
    graph = onnx.helper.make_graph(
        nodes,
        "zkpot integer model",
        [_tensor(onnx, "inputs", onnx.TensorProto.UINT8, shape.features)],
        [_tensor(onnx, "logits", onnx.TensorProto.INT64, shape.classes)],
        constants,
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="zkpot",
        producer_version=__version__,
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _tensor(onnx: Any, name: str, dtype: int, columns: int) -> Any:
    return onnx.helper.make_tensor_value_info(name, dtype, ["N", columns])


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise Fatal(
            ExitCode.DEPENDENCY, "writing .onnx needs onnx: pip install 'zkpot[litert]'"
        ) from error
    return onnx
