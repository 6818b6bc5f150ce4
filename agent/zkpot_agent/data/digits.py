"""The data source `digits`: one device's share of scikit-learn's handwritten digits.

For demonstrations: every device and the aggregator compute the same split from the seed.
"""

from dataclasses import dataclass

from zkpot.batch import Batch
from zkpot.datasets import DIGITS_SPEC, split_digits


@dataclass(frozen=True)
class DigitsSource:
    """Part `index` of `devices`, drawn with Dirichlet(`alpha`): small alpha, few classes each."""

    devices: int
    index: int
    alpha: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.devices:
            raise ValueError(f"index {self.index} of {self.devices} devices")
        if not self.alpha > 0:
            raise ValueError(f"alpha {self.alpha}, expected a positive number")

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
