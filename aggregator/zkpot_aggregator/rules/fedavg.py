"""FedAvg: the weighted mean.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, algorithm 1. One model can move it anywhere
within its bounds: it resists nothing beyond the gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import check_inputs, weighted_sum


@dataclass(frozen=True)
class FedAvg:
    """See `Rule`."""

    at_least = 1

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """The mean by weight."""
        check_inputs(thetas, weights, self.at_least)
        return weighted_sum(thetas, weights)
