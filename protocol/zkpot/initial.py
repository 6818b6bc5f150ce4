"""The model a task starts from, before any device has trained.

Drawn once by whoever creates the task and published by content address: nobody needs to be
able to draw it again.
"""

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.model import WEIGHT_MAX, WEIGHT_MIN, Layer, ModelSpec, check_bounds, join_theta


def initial_model(spec: ModelSpec, seed: int) -> GlobalModel:
    """Random weights as He et al. 2015 (arXiv 1502.01852) choose them, zero biases, weight 1.

    Weights of a layer with n inputs have the standard deviation sqrt(2 / n), in the spec's
    integer units; they are rounded and clipped to int8.
    """
    generator = np.random.default_rng(seed)
    layers = []
    for (inputs, outputs), exponent in zip(spec.shape.layers, spec.weight_exponents, strict=True):
        drawn = generator.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)
        weights = np.clip(np.rint(drawn * 2.0**exponent), WEIGHT_MIN, WEIGHT_MAX)
        layers.append(Layer(weights.astype(np.int64), np.zeros(outputs, np.int64)))
    theta = join_theta(tuple(layers))
    return GlobalModel(check_bounds(spec.shape, theta), 1)
