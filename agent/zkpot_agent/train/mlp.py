"""The default trainer: a quantization-aware MLP in numpy.

Float shadow weights take the steps; each forward pass rounds them to the integers they will
become, so that training sees the model that is proven. Ends with the quantization and with
the checks that a proof will need.
"""

import logging

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array, ModelSpec, check_bounds
from zkpot_agent.train.network import (
    Float64Array,
    Scales,
    backward,
    cross_entropy,
    forward,
    overshoot,
    scales,
)
from zkpot_agent.train.trainer import Progress, TrainSettings
from zkpot_agent.train.values import check_values

_logger = logging.getLogger(__name__)

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
FINAL_RATE = 0.1
"""Share of the learning rate that is left at the last step."""


class Adam:
    """Kingma and Ba 2015 (arXiv 1412.6980), in place on one vector [P]."""

    def __init__(self, size: int) -> None:
        self._mean = np.zeros(size)
        self._square = np.zeros(size)
        self._steps = 0

    def step(self, parameters: Float64Array, gradient: Float64Array, rate: float) -> None:
        """One step of `parameters` against `gradient`; `gradient` is used up."""
        self._steps += 1
        self._mean += (1 - BETA1) * (gradient - self._mean)
        np.multiply(gradient, gradient, out=gradient)
        self._square += (1 - BETA2) * (gradient - self._square)
        scale = rate * np.sqrt(1 - BETA2**self._steps) / (1 - BETA1**self._steps)
        parameters -= scale * self._mean / (np.sqrt(self._square) + EPSILON)


class MlpTrainer:
    """The entry point `mlp` of the group `zkpot.train`."""

    def train(
        self,
        spec: ModelSpec,
        start: GlobalModel,
        data: Batch,
        settings: TrainSettings,
        *,
        seed: int,
        progress: Progress,
    ) -> Int64Array:
        """See `Trainer.train`; raises `Rejected` if the result exceeds a bound."""
        parameters = fit(spec, start, data, settings, seed=seed, progress=progress)
        theta = check_bounds(spec.shape, scales(spec).to_theta(parameters))
        check_values(spec.shape, theta, data.inputs, settings.value_limit_bits)
        progress("training", 1.0)
        return theta


def fit(
    spec: ModelSpec,
    start: GlobalModel,
    data: Batch,
    settings: TrainSettings,
    *,
    seed: int,
    progress: Progress,
) -> Float64Array:
    """The trained shadow weights in float units, [P], within their range but not rounded."""
    if start.theta_sum.shape != (spec.shape.parameters,):
        raise Rejected(
            Reason.MODEL_MISMATCH,
            f"{start.theta_sum.size} parameters, the shape has {spec.shape.parameters}",
        )
    generator = np.random.default_rng(seed)
    grid = scales(spec)
    origin = grid.to_float(start.mean)
    parameters = origin.copy()
    grid.clip(parameters)
    optimizer = Adam(parameters.size)
    per_epoch = -(-data.size // settings.batch_size)
    total = settings.epochs * per_epoch
    for epoch in range(settings.epochs):
        order = generator.permutation(data.size)
        losses = 0.0
        for number, chosen in enumerate(np.array_split(order, per_epoch)):
            step = epoch * per_epoch + number
            batch = Batch(data.inputs[chosen], data.labels[chosen])
            loss, gradient = _gradient(spec, grid, parameters, batch, settings)
            if settings.proximal:
                gradient += settings.proximal * (parameters - origin)
            rate = settings.learning_rate * (1 - (1 - FINAL_RATE) * step / total)
            optimizer.step(parameters, gradient, rate)
            grid.clip(parameters)
            losses += loss * batch.size
            progress("training", step / total)
        _logger.debug("epoch %d of %d: loss %.4f", epoch + 1, settings.epochs, losses / data.size)
    return parameters


def _gradient(
    spec: ModelSpec,
    grid: Scales,
    parameters: Float64Array,
    batch: Batch,
    settings: TrainSettings,
) -> tuple[float, Float64Array]:
    aware = settings.quantization_aware
    used = grid.round(parameters) if aware else parameters
    activations, values = forward(spec, used, batch.inputs, floor=aware)
    loss, at_logits = cross_entropy(values[-1], batch.labels)
    at_values = [
        settings.value_penalty * overshoot(spec, number, z, settings.value_limit_bits)
        for number, z in enumerate(values)
    ]
    at_values[-1] += at_logits
    return loss, backward(spec, used, activations, values, at_values)
