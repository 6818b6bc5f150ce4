"""The data source `digits`: one device's share of scikit-learn's handwritten digits.

For demonstrations: every device and the aggregator compute the same split from the seed.
"""

import math
from dataclasses import dataclass

from zkpot.batch import Batch
from zkpot.datasets import DIGITS_MAX_DEVICES, DIGITS_SPEC, split_digits


@dataclass(frozen=True)
class DigitsSource:
    """Part `index` of `devices`, drawn with Dirichlet(`alpha`): small alpha, few classes each."""

    devices: int
    index: int
    alpha: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.index < self.devices:
            problems.append(f"index {self.index} of {self.devices} devices")
        if self.devices > DIGITS_MAX_DEVICES:
            problems.append(f"{self.devices} devices, at most {DIGITS_MAX_DEVICES}")
        if not 0 < self.alpha < math.inf:
            problems.append(f"alpha {self.alpha}, expected a positive number")
        if self.seed < 0:
            problems.append(f"seed {self.seed} is negative")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def features(self) -> int:
        """64 pixels."""
        return DIGITS_SPEC.shape.features

    @property
    def classes(self) -> int:
        """10 digits."""
        return DIGITS_SPEC.shape.classes

    def load(self) -> Batch:
        """This device's samples; pixels from 0 to 16."""
        return split_digits(self.devices, self.alpha, self.seed).devices[self.index]
