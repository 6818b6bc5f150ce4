"""How large the values of an integer model get on given data.

A circuit's range checks are narrower than the bounds that follow from a shape; this is the
check that a trained model stays inside them where its owner can see it.
"""

import numpy as np

from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array, Shape, UInt8Array, split_theta


def peak_values(shape: Shape, theta: Int64Array, inputs: UInt8Array) -> tuple[int, ...]:
    """Per layer the largest |Z| over inputs [N, features]; last the largest logit difference.

    Length layers + 1, in integer units.
    """
    peaks, activations, values = [], inputs.astype(np.int64), np.zeros((1, 1), np.int64)
    for number, layer in enumerate(split_theta(shape, theta)):
        values = activations @ layer.weights + layer.biases
        peaks.append(int(np.abs(values).max(initial=0)))
        if number < len(shape.shifts):
            activations = np.maximum(values, 0) >> shape.shifts[number]
    spread = values.max(axis=1) - values.min(axis=1)
    return (*peaks, int(spread.max(initial=0)))


def check_values(shape: Shape, theta: Int64Array, inputs: UInt8Array, bits: int) -> Int64Array:
    """Returns theta if every peak over `inputs` is below 2^bits; raises `Rejected` otherwise."""
    peaks = peak_values(shape, theta, inputs)
    if max(peaks) >= 1 << bits:
        found = ", ".join(str(peak.bit_length()) for peak in peaks)
        raise Rejected(
            Reason.MODEL_OUT_OF_BOUNDS,
            f"values on the device's own data take {found} bits (layers, then difference of "
            f"logits), at most {bits}: train with a smaller learning rate or a larger penalty",
        )
    return theta
