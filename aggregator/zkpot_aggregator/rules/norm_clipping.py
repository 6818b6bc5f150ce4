"""Norm clipping: the mean of updates that are cut to a length.

Sun, Kairouz, Suresh, McMahan: Can You Really Backdoor Federated Learning? 2019, section 4.2
(arXiv 1911.07963). An update is a model less the one the round started from. Those longer
than the bound are shortened to it, so one model moves the mean by no more than the bound
times its share of the weight; many together still can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import check_inputs, weighted_sum
from zkpot_aggregator.rules.krum import squared_norm

MAX_BOUND = (1 << 30) - 1
"""An entry of an update is below 2^32: their product stays within 63 bits."""


@dataclass(frozen=True, eq=False)
class NormClipping:
    """See `Rule`. `reference`: int64 [P], the round's model; `bound`: in the L2 norm."""

    reference: Int64Array
    bound: int
    at_least = 1

    def __post_init__(self) -> None:
        if not 1 <= self.bound <= MAX_BOUND:
            raise ValueError(f"a bound of {self.bound}")

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """The mean of the reference plus each clipped update."""
        check_inputs(thetas, weights, self.at_least)
        clipped = [self.reference + clip(theta - self.reference, self.bound) for theta in thetas]
        return weighted_sum(np.stack(clipped), weights)


def clip(update: Int64Array, bound: int) -> Int64Array:
    """The update, shortened to `bound` if it is longer; entries are rounded towards zero."""
    square = squared_norm(update)
    if square <= bound * bound:
        return update
    norm = isqrt(square - 1) + 1  # rounded up, so that the result is never longer than the bound
    return np.asarray(np.sign(update) * (np.abs(update) * bound // norm), dtype=np.int64)
