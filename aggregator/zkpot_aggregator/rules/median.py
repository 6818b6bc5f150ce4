"""Coordinate-wise median.

Yin, Chen, Ramchandran, Bartlett: Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates. ICML 2018, option I. Fewer than half of the models cannot move a
coordinate out of the range of the others. Weights are not used: they would let a heavy
device count for many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import check_inputs


@dataclass(frozen=True)
class Median:
    """See `Rule`."""

    at_least = 1

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """The middle value, or the mean of the two in the middle."""
        check_inputs(thetas, weights, self.at_least)
        number = len(thetas)
        low, high = (number - 1) // 2, number // 2
        ordered = np.partition(thetas, (low, high), axis=0)
        if low == high:
            return GlobalModel(ordered[low], 1)
        return GlobalModel(ordered[low] + ordered[high], 2)
