"""The data source `synthetic`: random samples of any size, for tests and benchmarks."""

from dataclasses import dataclass

from zkpot.batch import Batch
from zkpot.datasets import synthetic_samples
from zkpot.model import MAX_CLASSES, MAX_WIDTH

MAX_SAMPLES = 1 << 24


@dataclass(frozen=True)
class SyntheticSource:
    """Samples around one centre per class; `seed` fixes the problem, `index` the device."""

    features: int
    classes: int
    samples: int
    index: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, expected 1 to {high}"
            for name, value, high in (
                ("features", self.features, MAX_WIDTH),
                ("classes", self.classes, MAX_CLASSES),
                ("samples", self.samples, MAX_SAMPLES),
            )
            if not 1 <= value <= high
        ]
        if self.index < 0 or self.seed < 0:
            problems.append("index and seed must not be negative")
        if problems:
            raise ValueError("; ".join(problems))

    def load(self) -> Batch:
        """The samples of this device."""
        return synthetic_samples(
            self.features, self.classes, self.samples, self.seed, stream=self.index
        )
