"""What values one given model can reach, over every possible input.

Tighter than the bounds of its shape, which hold for all admissible models: a trained model
usually fits 32-bit arithmetic where its shape does not promise that.
"""

import numpy as np

from zkpot.errors import Reason, Rejected
from zkpot.model import INPUT_MAX, Int64Array, Shape, check_bounds, split_theta

INT32_LIMIT = 1 << 31


def worst_values(shape: Shape, theta: Int64Array) -> tuple[int, ...]:
    """Per layer, a bound on the magnitude of every product, partial sum and Z.

    Interval arithmetic over inputs from 0 to 255: each activation ranges from 0 to its own
    upper bound, so any partial sum lies between the sum of the negative terms and the sum of
    the positive ones, whatever the order of the additions.
    """
    bounds = []
    highest = np.full(shape.features, INPUT_MAX, np.int64)
    for number, layer in enumerate(split_theta(shape, check_bounds(shape, theta))):
        upper = highest @ np.maximum(layer.weights, 0)
        lower = highest @ np.minimum(layer.weights, 0)
        reach = np.maximum(upper, -lower) + np.abs(layer.biases)
        bounds.append(int(max(reach.max(), highest.max())))
        if number < len(shape.shifts):
            highest = np.maximum(upper + layer.biases, 0) >> shape.shifts[number]
    return tuple(bounds)


def check_int32(shape: Shape, theta: Int64Array) -> Int64Array:
    """Returns theta if no value can leave int32; raises `Rejected` with the layer otherwise."""
    for number, bound in enumerate(worst_values(shape, theta), 1):
        if bound >= INT32_LIMIT:
            raise Rejected(
                Reason.MODEL_OUT_OF_BOUNDS,
                f"layer {number} can reach {bound} ({bound.bit_length()} bits), TFLite computes "
                "with 32: use larger shifts, fewer inputs, or ONNX",
            )
    return theta
