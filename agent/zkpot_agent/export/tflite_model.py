"""The integer model as a .tflite file, bit-exact with the reference inference.

Per layer: int8 constant weights, CAST to int32, MUL and SUM (the matrix product), ADD, and
between layers MAXIMUM with 0 and FLOOR_DIV by a power of two (the shift; values are not
negative there). All in int32, where each of these is exact as long as nothing overflows;
int8 FULLY_CONNECTED is not, because it rescales its output.
"""

import numpy as np

from zkpot.model import Int64Array, Layer, Shape, split_theta
from zkpot_agent.export.bounds import check_int32
from zkpot_agent.export.graph import Graph

ANY = -1
MAX_DIVISOR_BITS = 30
"""The largest power of two that int32 holds."""


def to_tflite(shape: Shape, theta: Int64Array) -> bytes:
    """A graph from `inputs` uint8 [N, features] to `logits` int32 [N, classes], any N.

    The label is the index of the largest logit, the lowest on ties. Raises `Rejected` with
    MODEL_OUT_OF_BOUNDS if some input could make this model leave int32, and `Fatal` with
    DEPENDENCY if LiteRT is not installed.
    """
    check_int32(shape, theta)
    graph = Graph()
    inputs = graph.tensor("inputs", (ANY, shape.features), np.uint8)
    values = graph.tensor("activations0", (ANY, shape.features), np.int32)
    _cast(graph, inputs, values, np.uint8)
    for number, layer in enumerate(split_theta(shape, theta)):
        last = number == len(shape.shifts)
        values = _affine(graph, number, layer, values, "logits" if last else f"values{number}")
        if not last:
            values = _activate(graph, number, values, layer.biases.size, shape.shifts[number])
    return graph.build([inputs], [values], "zkpot integer model")


def _affine(graph: Graph, number: int, layer: Layer, values: int, name: str) -> int:
    inputs, outputs = layer.weights.shape
    transposed = layer.weights.T[np.newaxis].astype(np.int8)
    narrow = graph.constant(f"weights{number}", transposed)
    wide = graph.tensor(f"weights{number}_wide", transposed.shape, np.int32)
    _cast(graph, narrow, wide, np.int8)
    rows_shape = graph.constant(f"rows{number}_shape", np.array([ANY, 1, inputs], np.int32))
    rows = graph.tensor(f"rows{number}", (ANY, 1, inputs), np.int32)
    graph.operator("RESHAPE", [values, rows_shape], rows, "ReshapeOptions")
    products = graph.tensor(f"products{number}", (ANY, outputs, inputs), np.int32)
    graph.operator("MUL", [rows, wide], products, "MulOptions")
    axis = graph.constant(f"axis{number}", np.array([2], np.int32))
    sums = graph.tensor(f"sums{number}", (ANY, outputs), np.int32)
    graph.operator("SUM", [products, axis], sums, "ReducerOptions")
    biases = graph.constant(f"biases{number}", layer.biases.astype(np.int32))
    result = graph.tensor(name, (ANY, outputs), np.int32)
    return graph.operator("ADD", [sums, biases], result, "AddOptions")


def _activate(graph: Graph, number: int, values: int, width: int, shift: int) -> int:
    zero = graph.constant(f"zero{number}", np.array([0], np.int32))
    result = graph.tensor(f"relu{number}", (ANY, width), np.int32)
    graph.operator("MAXIMUM", [values, zero], result, "MaximumMinimumOptions")
    # A shift of more than 30 takes two divisions.
    for part, left in enumerate(range(shift, 0, -MAX_DIVISOR_BITS)):
        power = np.array([1 << min(left, MAX_DIVISOR_BITS)], np.int32)
        divisor = graph.constant(f"divisor{number}_{part}", power)
        shifted = graph.tensor(f"shifted{number}_{part}", (ANY, width), np.int32)
        result = graph.operator("FLOOR_DIV", [result, divisor], shifted, "FloorDivOptions")
    return result


def _cast(graph: Graph, source: int, target: int, dtype: type[np.generic]) -> None:
    types = graph.schema.TensorType
    from_type = types.UINT8 if dtype is np.uint8 else types.INT8
    graph.operator(
        "CAST", [source], target, "CastOptions", inDataType=from_type, outDataType=types.INT32
    )
