"""What every rule is: an exact function of integer models, the same on every machine.

A rule does not depend on the order of the models, and uses no floating point: what it makes
is a sum and the weight it stands for, like any global model.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array


class Rule(Protocol):
    """Opened models in, global model out."""

    @property
    def at_least(self) -> int:
        """How many models it needs."""
        ...

    def __call__(self, thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
        """`thetas`: int64 [K, P], `weights`: K positive integers; raises `Rejected`.

        Fewer models than `at_least` are OUT_OF_RANGE.
        """
        ...


def check_inputs(thetas: Int64Array, weights: Sequence[int], at_least: int) -> None:
    """Raises `Rejected` if there are fewer than `at_least` models; ValueError for misuse."""
    if thetas.ndim != 2 or thetas.dtype != np.int64 or len(weights) != len(thetas):
        raise ValueError(f"thetas {thetas.dtype} {thetas.shape}, {len(weights)} weights")
    if any(weight < 1 for weight in weights):
        raise ValueError("weights are positive")
    if len(thetas) < at_least:
        raise Rejected(Reason.OUT_OF_RANGE, f"{len(thetas)} models, the rule needs {at_least}")


def weighted_sum(thetas: Int64Array, weights: Sequence[int]) -> GlobalModel:
    """The sum of weight times theta, and the sum of the weights."""
    total = np.asarray(weights, dtype=np.int64) @ thetas
    return GlobalModel(np.asarray(total, dtype=np.int64), sum(weights))
