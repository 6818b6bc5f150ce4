"""The Gaussian mechanism on a trained model, before it is quantized for the last time.

Dwork and Roth 2014, appendix A; for models: Abadi et al. 2016 (arXiv 1607.00133), here
applied to the whole update, so that it protects a device's data set and not one sample.
In order:

1. the update is the trained model less the public one that training started from;
2. it is cut to `clip` in the L2 norm;
3. noise is added, and the sum is rounded to the grid and into the bounds of the model.

What follows (count, proof, commitment, sums) depends on the data through this only. A model
must not be looked at with the private data again: to throw it away for what it does there
would be a release of its own.
"""

import secrets
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array, ModelSpec, check_bounds
from zkpot_agent.privacy.settings import PrivacySettings
from zkpot_agent.train.network import Float64Array, scales

RandomBytes: TypeAlias = Callable[[int], bytes]

_DRAWS = 4
"""Draws summed for one variable: what floating point gives away of a single one would have to
be told from their sum (Holohan and Braghin 2021, arXiv 2107.10138)."""


def privatize(
    spec: ModelSpec,
    start: GlobalModel,
    theta: Int64Array,
    settings: PrivacySettings,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Int64Array:
    """The model that may be released instead of `theta`: int64 [P], admissible.

    Its cost must have been charged, and the charge stored, before.
    """
    grid = scales(spec)
    origin = grid.to_float(start.mean)
    # 1, 2
    update = clip_update(grid.to_float(theta) - origin, settings.clip)
    # 3
    noise = settings.deviation * gaussian(update.size, random_bytes)
    return check_bounds(spec.shape, grid.to_theta(origin + update + noise))


def clip_update(update: Float64Array, clip: float) -> Float64Array:
    """The update [P], shortened to the L2 norm `clip` if it is longer."""
    norm = float(np.linalg.norm(update))
    return update if norm <= clip else update * (clip / norm)


def gaussian(number: int, random_bytes: RandomBytes) -> Float64Array:
    """Independent standard normal variables [number] from the given random bytes.

    Box and Muller 1958, on 53-bit uniform variables in (0, 1].
    """
    pairs = -(-number // 2)
    words = np.frombuffer(random_bytes(8 * _DRAWS * 2 * pairs), np.uint64)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(uniform[0::2])), 2 * np.pi * uniform[1::2]
    draws = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    total = draws.reshape(_DRAWS, 2 * pairs).sum(axis=0) / np.sqrt(_DRAWS)
    return np.asarray(total[:number], dtype=np.float64)
