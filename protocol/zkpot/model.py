"""The integer model: its shape, its parameters, and the reference inference.

Z = A·W + b; A = relu(Z) >> s between layers; the logits are the last Z. A sample counts if
its label's logit beats every other, the lowest index winning ties. Weights are int8,
inputs uint8, and worst-case bounds that follow from the shape alone keep every value far
inside int64. This module defines the statement; every proof system and every export is
tested against it bit for bit.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zkpot.errors import Reason, Rejected
from zkpot.wire.codec import Max, Span

Int64Array: TypeAlias = NDArray[np.int64]
UInt8Array: TypeAlias = NDArray[np.uint8]

WEIGHT_MIN, WEIGHT_MAX = -128, 127
INPUT_MAX = 255
MAX_LAYERS = 8
MAX_WIDTH = 1 << 16
MAX_CLASSES = 64
MAX_BIAS_BITS = 30

MAX_VALUE_BITS = 45
"""Bits of the largest pre-activation a shape may allow: far below int64 and every field."""


@dataclass(frozen=True)
class Shape:
    """What a statement is about: layer widths, shifts, and how large a bias may be.

    `widths` are d_0 … d_L; `shifts` belong to the L-1 hidden layers; biases lie in
    [-2^bias_bits, 2^bias_bits).
    """

    widths: Annotated[tuple[Annotated[int, Span(1, MAX_WIDTH)], ...], Max(MAX_LAYERS + 1)]
    shifts: Annotated[tuple[Annotated[int, Span(0, MAX_VALUE_BITS)], ...], Max(MAX_LAYERS)]
    bias_bits: Annotated[int, Span(1, MAX_BIAS_BITS)]

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or len(self.shifts) != len(self.widths) - 2:
            raise Rejected(
                Reason.MODEL_OUT_OF_BOUNDS,
                f"{len(self.widths)} widths need {max(len(self.widths) - 2, 0)} shifts, "
                f"got {len(self.shifts)}",
            )
        if self.classes > MAX_CLASSES:
            raise Rejected(
                Reason.MODEL_OUT_OF_BOUNDS, f"{self.classes} classes, at most {MAX_CLASSES}"
            )
        for layer, bits in enumerate(self.value_bits):
            shift = self.shifts[layer] if layer < len(self.shifts) else 0
            if bits > MAX_VALUE_BITS or shift >= bits:
                raise Rejected(
                    Reason.MODEL_OUT_OF_BOUNDS,
                    f"layer {layer + 1}: {bits} bits, shift {shift}; "
                    f"at most {MAX_VALUE_BITS} bits and a smaller shift",
                )

    @property
    def features(self) -> int:
        """Inputs of the first layer."""
        return self.widths[0]

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        return self.widths[-1]

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(zip(self.widths, self.widths[1:], strict=False))

    @property
    def parameters(self) -> int:
        """Length of theta."""
        return sum(inputs * outputs + outputs for inputs, outputs in self.layers)

    @cached_property
    def value_bits(self) -> tuple[int, ...]:
        """Per layer, the bits that hold the largest |Z| any admissible model can reach."""
        result, activation = [], INPUT_MAX
        for layer, (inputs, _) in enumerate(self.layers):
            bits = (inputs * activation * -WEIGHT_MIN + (1 << self.bias_bits)).bit_length()
            result.append(bits)
            if layer < len(self.shifts):
                activation = (1 << max(bits - self.shifts[layer], 0)) - 1
        return tuple(result)


@dataclass(frozen=True)
class ModelSpec:
    """A shape and what its integers mean: powers of two, the same for every device.

    A float weight of layer l is its integer times 2^-weight_exponents[l]; an input is its
    byte times 2^-input_exponent.
    """

    shape: Shape
    input_exponent: Annotated[int, Span(0, 16)]
    weight_exponents: Annotated[tuple[Annotated[int, Span(0, 16)], ...], Max(MAX_LAYERS)]

    def __post_init__(self) -> None:
        if len(self.weight_exponents) != len(self.shape.layers):
            raise Rejected(
                Reason.MODEL_OUT_OF_BOUNDS,
                f"{len(self.shape.layers)} layers, {len(self.weight_exponents)} exponents",
            )

    @property
    def value_exponents(self) -> tuple[int, ...]:
        """Per layer, the exponent of Z and so of the bias."""
        result, activation = [], self.input_exponent
        for layer, weight in enumerate(self.weight_exponents):
            result.append(activation + weight)
            if layer < len(self.shape.shifts):
                activation = result[-1] - self.shape.shifts[layer]
        return tuple(result)


@dataclass(frozen=True)
class Layer:
    """Weights [inputs, outputs] and biases [outputs] of one layer, int64."""

    weights: Int64Array
    biases: Int64Array


def split_theta(shape: Shape, theta: Int64Array) -> tuple[Layer, ...]:
    """Views into theta, layer by layer: weights row by row, then biases."""
    if theta.shape != (shape.parameters,):
        raise Rejected(
            Reason.MODEL_OUT_OF_BOUNDS, f"theta {theta.shape}, expected ({shape.parameters},)"
        )
    layers, start = [], 0
    for inputs, outputs in shape.layers:
        middle, end = start + inputs * outputs, start + inputs * outputs + outputs
        layers.append(Layer(theta[start:middle].reshape(inputs, outputs), theta[middle:end]))
        start = end
    return tuple(layers)


def join_theta(layers: tuple[Layer, ...]) -> Int64Array:
    """Inverse of `split_theta`."""
    flat = [part.ravel() for layer in layers for part in (layer.weights, layer.biases)]
    return np.concatenate(flat).astype(np.int64)


def check_bounds(shape: Shape, theta: Int64Array) -> Int64Array:
    """Returns theta if every weight and bias is admissible; raises `Rejected` otherwise."""
    limit = 1 << shape.bias_bits
    for number, layer in enumerate(split_theta(shape, theta), 1):
        for name, values, low, high in (
            ("weight", layer.weights, WEIGHT_MIN, WEIGHT_MAX),
            ("bias", layer.biases, -limit, limit - 1),
        ):
            if values.min() < low or values.max() > high:
                raise Rejected(
                    Reason.OUT_OF_RANGE, f"layer {number}: a {name} is outside [{low}, {high}]"
                )
    return theta


def logits(shape: Shape, theta: Int64Array, inputs: UInt8Array) -> Int64Array:
    """Logits [N, classes] of `inputs` [N, features], uint8."""
    *hidden, last = split_theta(shape, theta)
    activations = inputs.astype(np.int64)
    for layer, shift in zip(hidden, shape.shifts, strict=True):
        activations = np.maximum(activations @ layer.weights + layer.biases, 0) >> shift
    values: Int64Array = activations @ last.weights + last.biases
    return values


def predict(shape: Shape, theta: Int64Array, inputs: UInt8Array) -> Int64Array:
    """Labels [N]; the lowest index wins ties."""
    labels: Int64Array = np.argmax(logits(shape, theta, inputs), axis=1)
    return labels


def count_correct(shape: Shape, theta: Int64Array, inputs: UInt8Array, labels: UInt8Array) -> int:
    """How many samples the model labels as `labels` [N] says."""
    return int(np.count_nonzero(predict(shape, theta, inputs) == labels))
