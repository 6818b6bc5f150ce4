"""A small writer of TFLite graphs, on the schema that ships with ai-edge-litert.

No TensorFlow: the schema's Python classes are generated from the format's own definition.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zkpot.errors import ExitCode, Fatal

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
LAST_DEPRECATED_CODE = 127
"""Codes above this stand only in the wide field; the old byte field holds this value."""


def schema() -> Any:
    """The generated schema; raises `Fatal` with DEPENDENCY if LiteRT is not installed."""
    try:
        import flatbuffers  # noqa: F401, PLC0415 - optional
        from ai_edge_litert import schema_py_generated  # noqa: PLC0415 - optional
    except ImportError as error:
        raise Fatal(
            ExitCode.DEPENDENCY, "writing .tflite needs LiteRT: pip install 'zkpot[litert]'"
        ) from error
    return schema_py_generated


class Graph:
    """Tensors and operators of one graph, in the order of execution.

    `NONE` as the leading dimension of a tensor means any number of rows.
    """

    def __init__(self) -> None:
        self.schema = schema()
        self._types = {
            np.dtype(np.uint8): self.schema.TensorType.UINT8,
            np.dtype(np.int8): self.schema.TensorType.INT8,
            np.dtype(np.int32): self.schema.TensorType.INT32,
        }
        # The format reserves the first buffer for tensors without constant data.
        self._buffers = [self.schema.BufferT()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: list[tuple[int, int]] = []

    def tensor(self, name: str, shape: Sequence[int], dtype: type[np.generic]) -> int:
        """Index of a new tensor; -1 in `shape` is a dimension that may be resized."""
        item = self.schema.TensorT()
        item.name, item.type, item.buffer = name, self._types[np.dtype(dtype)], 0
        item.shape = [max(size, 1) for size in shape]
        if min(shape) < 0:
            item.shapeSignature = list(shape)
        self._tensors.append(item)
        return len(self._tensors) - 1

    def constant(self, name: str, values: NDArray[np.generic]) -> int:
        """Index of a new tensor that holds `values`."""
        index = self.tensor(name, values.shape, values.dtype.type)
        buffer = self.schema.BufferT()
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        buffer.data = np.frombuffer(little.tobytes(), np.uint8)
        self._tensors[index].buffer = len(self._buffers)
        self._buffers.append(buffer)
        return index

    def operator(
        self, name: str, inputs: Sequence[int], output: int, options: str, **values: int
    ) -> int:
        """Appends the builtin operator `name`; returns `output`.

        `options` names the schema's table of options, `values` are its fields.
        """
        code = (getattr(self.schema.BuiltinOperator, name), 1)
        if code not in self._codes:
            self._codes.append(code)
        item = self.schema.OperatorT()
        item.opcodeIndex = self._codes.index(code)
        item.inputs, item.outputs = list(inputs), [output]
        item.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        item.builtinOptions = getattr(self.schema, f"{options}T")()
        for field, value in values.items():
            setattr(item.builtinOptions, field, value)
        self._operators.append(item)
        return output

    def build(self, inputs: Sequence[int], outputs: Sequence[int], description: str) -> bytes:
        """The file's bytes."""
        import flatbuffers  # noqa: PLC0415 - optional; `schema` has checked for it

        graph = self.schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = "main", self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = self.schema.ModelT()
        model.version, model.description = SCHEMA_VERSION, description
        model.buffers, model.subgraphs, model.operatorCodes = self._buffers, [graph], []
        for builtin, version in self._codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode, code.version = builtin, version
            code.deprecatedBuiltinCode = min(builtin, LAST_DEPRECATED_CODE)
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())
