"""Krum: the one model that is closest to its neighbours.

Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries: Byzantine
Tolerant Gradient Descent. NeurIPS 2017, section 4. A model's score is the sum of the squared
distances to its K - f - 2 nearest others; the lowest wins. Tolerates f liars if K >= 2f + 3.
Distances are exact integers; equal scores go to the smaller parameters, read as a list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import check_inputs

_HALF = 16
_EXACT = 1 << 63


@dataclass(frozen=True)
class Krum:
    """See `Rule`. `liars`: f, the most models that may be false."""

    liars: int

    def __post_init__(self) -> None:
        if self.liars < 0:
            raise ValueError(f"{self.liars} liars")

    @property
    def at_least(self) -> int:
        """2f + 3."""
        return 2 * self.liars + 3

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """The chosen model, with weight 1."""
        check_inputs(thetas, weights, self.at_least)
        return GlobalModel(thetas[ranking(thetas, self.liars)[0]].copy(), 1)


def ranking(thetas: Int64Array, liars: int) -> list[int]:
    """Indices of the models, the best score first."""
    number = len(thetas)
    distances = [[0] * number for _ in range(number)]
    for i in range(number):
        for j in range(i):
            distances[i][j] = distances[j][i] = squared_norm(thetas[i] - thetas[j])
    neighbours = number - liars - 2
    scores = [
        sum(sorted(distances[i][:i] + distances[i][i + 1 :])[:neighbours]) for i in range(number)
    ]
    return sorted(range(number), key=lambda index: (scores[index], thetas[index].tolist()))


def squared_norm(vector: Int64Array) -> int:
    """Exact for entries up to 2^40, however many there are."""
    largest = int(np.abs(vector).max(initial=0))
    if largest * largest * vector.size < _EXACT:
        return int(vector @ vector)
    high, low = vector >> _HALF, vector & ((1 << _HALF) - 1)
    return (
        (squared_norm(high) << (2 * _HALF)) + (int(high @ low) << (_HALF + 1)) + squared_norm(low)
    )
