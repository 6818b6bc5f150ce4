"""The float shadow of the integer model: forward pass and gradients, exact in float64.

Everything is in the float units of the model spec. Scales are powers of two and values stay
below 2^45 integer units, so float64 holds each of them exactly: the forward pass with
rounding *is* the integer inference, scaled. Gradients pass through rounding and the shift's
floor unchanged (the straight-through estimator, Bengio et al. 2013, arXiv 1308.3432).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zkpot.model import WEIGHT_MAX, WEIGHT_MIN, Int64Array, ModelSpec, Shape, UInt8Array

Float64Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scales:
    """Per parameter, float64 [P]: integer units in 1.0, and the range in float units."""

    units: Float64Array
    low: Float64Array
    high: Float64Array

    def to_float(self, theta: Float64Array | Int64Array) -> Float64Array:
        """Float units of parameters [P] that are in integer units."""
        return theta / self.units

    def clip(self, parameters: Float64Array) -> None:
        """Moves parameters [P] into their range, in place."""
        np.clip(parameters, self.low, self.high, out=parameters)

    def round(self, parameters: Float64Array) -> Float64Array:
        """Parameters within the range on the grid of integers, still in float units."""
        return np.rint(parameters * self.units) / self.units

    def to_theta(self, parameters: Float64Array) -> Int64Array:
        """Theta: half-even rounding, clipped to the range."""
        clipped = np.clip(parameters, self.low, self.high)
        return np.rint(clipped * self.units).astype(np.int64)


def scales(spec: ModelSpec) -> Scales:
    """The scales of every parameter, in theta's order."""
    limit = 1 << spec.shape.bias_bits
    columns: list[Float64Array] = []
    exponents = zip(spec.weight_exponents, spec.value_exponents, strict=True)
    for (inputs, outputs), (weight, value) in zip(spec.shape.layers, exponents, strict=True):
        for count, exponent, low, high in (
            (inputs * outputs, weight, WEIGHT_MIN, WEIGHT_MAX),
            (outputs, value, -limit, limit - 1),
        ):
            unit = 2.0**exponent
            columns.append(np.broadcast_to([[unit], [low / unit], [high / unit]], (3, count)))
    units, lows, highs = np.concatenate(columns, axis=1)
    return Scales(units, lows, highs)


def split(shape: Shape, vector: Float64Array) -> list[tuple[Float64Array, Float64Array]]:
    """Views of a vector [P]: weights [inputs, outputs] and biases [outputs] of each layer."""
    layers, start = [], 0
    for inputs, outputs in shape.layers:
        middle, end = start + inputs * outputs, start + inputs * outputs + outputs
        layers.append((vector[start:middle].reshape(inputs, outputs), vector[middle:end]))
        start = end
    return layers


def forward(
    spec: ModelSpec, parameters: Float64Array, inputs: UInt8Array, *, floor: bool
) -> tuple[list[Float64Array], list[Float64Array]]:
    """Each layer's input [N, inputs] and pre-activation Z [N, outputs]; the last Z is logits.

    `floor` applies the shift as the integer inference does; without it values stay real.
    """
    scale = np.float64(2.0**-spec.input_exponent)
    activations: list[Float64Array] = [np.multiply(inputs, scale, dtype=np.float64)]
    values: list[Float64Array] = []
    for number, (weights, biases) in enumerate(split(spec.shape, parameters)):
        values.append(activations[-1] @ weights + biases)
        if number < len(spec.shape.shifts):
            activated = np.maximum(values[-1], 0)
            shift = spec.shape.shifts[number]
            if floor and shift:
                unit = 2.0 ** (spec.value_exponents[number] - shift)
                activated = np.floor(activated * unit) / unit
            activations.append(activated)
    return activations, values


def cross_entropy(logits: Float64Array, labels: UInt8Array) -> tuple[float, Float64Array]:
    """Mean softmax cross-entropy of logits [N, classes], and its gradient [N, classes].

    The temperature is 1.0 in float units, that is 2^(exponent of the logits) integer units.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.mean(np.log(totals[:, 0]) - shifted[rows, labels]))
    gradient = exponentials / totals
    gradient[rows, labels] -= 1
    return loss, gradient / len(labels)


def overshoot(spec: ModelSpec, layer: int, values: Float64Array, bits: int) -> Float64Array:
    """How far values [N, outputs] of `layer` lie beyond a quarter of 2^bits units, signed.

    In quarters, averaged over the samples: the gradient of a squared hinge. At half of 2^bits,
    where two logits could differ by all of it, it is 1, the most that cross-entropy can pull.
    """
    quarter = 2.0 ** (bits - 2 - spec.value_exponents[layer])
    excess = np.maximum(np.abs(values) - quarter, 0)
    return np.sign(values) * excess / (quarter * len(values))


def backward(
    spec: ModelSpec,
    parameters: Float64Array,
    activations: list[Float64Array],
    values: list[Float64Array],
    value_gradients: list[Float64Array],
) -> Float64Array:
    """Gradient [P] of the loss.

    `value_gradients` are what the loss adds at each layer's Z directly, [N, outputs] each.
    """
    result = np.empty_like(parameters)
    layers, gradients = split(spec.shape, parameters), split(spec.shape, result)
    downstream = value_gradients[-1]
    for number in range(len(layers) - 1, -1, -1):
        np.matmul(activations[number].T, downstream, out=gradients[number][0])
        np.sum(downstream, axis=0, out=gradients[number][1])
        if number:
            below = (downstream @ layers[number][0].T) * (values[number - 1] > 0)
            downstream = below + value_gradients[number - 1]
    return result
