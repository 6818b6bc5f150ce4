"""The circuit of the statement, as an ONNX graph over integers, and its inputs.

Inputs, each committed to by one point, in this order:

    theta    [parameters + SALT_ELEMENTS]  theta, then salt that no node reads
    inputs   [N, features + 1]             the samples, with a last column of ones
    onehot   [N, classes]                  1 at the label
    ties     [N, classes]                  1 at every class below the label
    context  [1, 1]

Outputs, both public: the count, and the context.

Over a sample's classes j, relu(logit_j + ties_j - logit_label) is zero everywhere exactly
if the label's logit beats every other and the lowest index wins ties; the sample counts if
the sum is zero. The column of ones turns the first layer's biases, which follow its weights
in theta, into one more row of its weights; with ReLU instead of a comparison at the head
this is what lets N=100 of 64-32-10 into 2^15 rows.
"""

from typing import Any

import numpy as np

from zkpot.batch import Batch
from zkpot.model import Shape
from zkpot.proof.ezkl.engine import optional_module

INPUT_NAMES = ("theta", "inputs", "onehot", "ties", "context")

SALT_ELEMENTS = 8
"""Each proof opens the theta column once, so s elements hide it over (s - 1) / 2 proofs.

A commitment is proven once; eight leave room for a proof that was lost and made again.
"""

_OPSET = 18
_IR_VERSION = 9


def message_lengths(shape: Shape, batch_size: int) -> tuple[int, ...]:
    """Field elements of each input: each must fit one column."""
    samples, classes = batch_size * (shape.features + 1), batch_size * shape.classes
    return (shape.parameters + SALT_ELEMENTS, samples, classes, classes, 1)


def batch_tensors(shape: Shape, batch: Batch) -> tuple[Any, Any, Any]:
    """`inputs`, `onehot` and `ties` of a batch, int64."""
    ones = np.ones((batch.size, 1), dtype=np.int64)
    classes = np.arange(shape.classes)[None, :]
    labels = batch.labels.astype(np.int64)[:, None]
    return (
        np.hstack([batch.inputs.astype(np.int64), ones]),
        (classes == labels).astype(np.int64),
        (classes < labels).astype(np.int64),
    )


class _Graph:
    """Collects nodes and constants; `add` returns the name of a node's output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._helper = optional_module("onnx.helper")
        self._numpy_helper = optional_module("onnx.numpy_helper")

    def add(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self._helper.make_node(operation, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(self._numpy_helper.from_array(np.asarray(values), name))
        return name

    def slice_of(self, source: str, start: int, shape: tuple[int, int], name: str) -> str:
        """`shape` elements of the vector `source` from `start` on, as a matrix."""
        begin = self.constant(f"{name}_begin", [start])
        end = self.constant(f"{name}_end", [start + shape[0] * shape[1]])
        flat = self.add("Slice", [source, begin, end], f"{name}_flat")
        return self.add("Reshape", [flat, self.constant(f"{name}_shape", shape)], name)


def build(shape: Shape, batch_size: int) -> bytes:
    """The ONNX file for `batch_size` samples. Shifts are not in it: they must be 0."""
    graph = _Graph()
    logits = _network(graph, shape)
    _head(graph, logits)
    graph.add("Identity", ["context"], "context_out")
    return _serialize(graph, shape, batch_size)


def _network(graph: _Graph, shape: Shape) -> str:
    """The layers; theta is read as `split_theta` reads it. Returns the logits' name."""
    current, start = "inputs", 0
    for layer, (inputs, outputs) in enumerate(shape.layers):
        rows = inputs + 1 if layer == 0 else inputs
        weights = graph.slice_of("theta", start, (rows, outputs), f"weights{layer}")
        start += rows * outputs
        current = graph.add("MatMul", [current, weights], f"product{layer}")
        if layer > 0:
            biases = graph.slice_of("theta", start, (1, outputs), f"biases{layer}")
            start += outputs
            current = graph.add("Add", [current, biases], f"sum{layer}")
        if layer < len(shape.layers) - 1:
            current = graph.add("Relu", [current], f"hidden{layer}")
    return current


def _head(graph: _Graph, logits: str) -> None:
    over_classes = graph.constant("over_classes", [1])
    over_samples = graph.constant("over_samples", [0])
    marked = graph.add("Mul", [logits, "onehot"], "marked")
    own = graph.add("ReduceSum", [marked, over_classes], "own", keepdims=1)
    rivals = graph.add("Add", [logits, "ties"], "rivals")
    excess = graph.add("Relu", [graph.add("Sub", [rivals, own], "lead")], "excess")
    total = graph.add("ReduceSum", [excess, over_classes], "total", keepdims=1)
    zero = graph.constant("zero", np.zeros((1, 1), dtype=np.float32))
    equal = graph.add("Equal", [total, zero], "equal")
    onnx = optional_module("onnx")
    hits = graph.add("Cast", [equal], "hits", to=onnx.TensorProto.FLOAT)
    graph.add("ReduceSum", [hits, over_samples], "count", keepdims=1)


def _serialize(graph: _Graph, shape: Shape, batch_size: int) -> bytes:
    onnx, helper = optional_module("onnx"), optional_module("onnx.helper")
    n, classes = batch_size, shape.classes
    dimensions = (
        [shape.parameters + SALT_ELEMENTS],
        [n, shape.features + 1],
        [n, classes],
        [n, classes],
        [1, 1],
    )
    real = onnx.TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "zkpot",
            [
                helper.make_tensor_value_info(name, real, dims)
                for name, dims in zip(INPUT_NAMES, dimensions, strict=True)
            ],
            [
                helper.make_tensor_value_info(name, real, [1, 1])
                for name in ("count", "context_out")
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="zkpot",
    )
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
