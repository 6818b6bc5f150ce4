"""Coordinate-wise trimmed mean.

Yin, Chen, Ramchandran, Bartlett: Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates. ICML 2018, option II. Of K models the floor(K * percent / 100) smallest and
as many largest values of each coordinate are left out; up to that many liars cannot move a
coordinate out of the range of the others. Weights are not used, as with the median.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import check_inputs


@dataclass(frozen=True)
class TrimmedMean:
    """See `Rule`. `percent`: how many of a hundred are cut at either end, below 50."""

    percent: int
    at_least = 1

    def __post_init__(self) -> None:
        if not 0 <= self.percent < 50:
            raise ValueError(f"{self.percent} percent cut at either end")

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """The mean of what is left."""
        check_inputs(thetas, weights, self.at_least)
        number = len(thetas)
        cut = number * self.percent // 100
        ordered = np.sort(thetas, axis=0)[cut : number - cut]
        return GlobalModel(ordered.sum(axis=0), len(ordered))
