"""Multi-Krum: the mean of the models with the best Krum scores.

Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries: Byzantine
Tolerant Gradient Descent. NeurIPS 2017, section 5. Between Krum and the mean: less noise
than one model, with the same tolerance while at most K - f models are kept. The chosen models
count by their weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import check_inputs, weighted_sum
from zkpot_aggregator.rules.krum import ranking


@dataclass(frozen=True)
class MultiKrum:
    """See `Rule`. `liars`: f, the most models that may be false; `keep`: how many are averaged."""

    liars: int
    keep: int

    def __post_init__(self) -> None:
        if self.liars < 0 or self.keep < 1:
            raise ValueError(f"{self.liars} liars, {self.keep} kept")

    @property
    def at_least(self) -> int:
        """As many as Krum needs, and f more than are kept."""
        return max(2 * self.liars + 3, self.keep + self.liars)

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """The mean of the `keep` best, by weight."""
        check_inputs(thetas, weights, self.at_least)
        best = sorted(ranking(thetas, self.liars)[: self.keep])
        return weighted_sum(thetas[best], [weights[index] for index in best])
