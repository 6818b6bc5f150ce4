"""What a trainer is, and the settings every trainer is given.

A trainer is a pure function of its arguments, run in a child process: no clock, no disk, no
randomness but the seed. Packages bring their own under the entry point group `zkpot.train`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoints
from typing import Protocol, TypeAlias, cast

from zkpot.aggregate import GlobalModel
from zkpot.batch import Batch
from zkpot.model import MAX_VALUE_BITS, Int64Array, ModelSpec
from zkpot_agent.data.plugin import find_plugin

TRAIN_GROUP = "zkpot.train"

Progress: TypeAlias = Callable[[str, float], None]
"""Called with a label and a fraction from 0 to 1; whatever it raises ends the training."""


@dataclass(frozen=True)
class TrainSettings:
    """How long and how boldly to train.

    `learning_rate` is Adam's, in the float units of the model spec; it falls linearly to a
    tenth. `proximal` is mu of FedProx (Li et al. 2020, arXiv 1812.06127), 0 for none.

    The trained model must keep every pre-activation, and every difference of two logits, below
    2^value_limit_bits on the device's own data; `value_penalty` pushes values back from a
    quarter of that. The default is what any admissible shape keeps anyway; circuits ask for
    less.
    """

    epochs: int = 30
    learning_rate: float = 0.01
    batch_size: int = 32
    proximal: float = 0.003
    value_limit_bits: int = MAX_VALUE_BITS + 1
    value_penalty: float = 1.0
    quantization_aware: bool = True

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected {low} to {high}"
            for name, low, high in (
                ("epochs", 1, 10_000),
                ("learning_rate", 1e-8, 10),
                ("batch_size", 1, 1 << 20),
                ("proximal", 0, 1e6),
                ("value_limit_bits", 1, MAX_VALUE_BITS + 1),
                ("value_penalty", 0, 1e6),
            )
            if not low <= getattr(self, name) <= high
        ]
        if problems:
            raise ValueError("; ".join(problems))


class Trainer(Protocol):
    """Turns the global model and private data into a device's model."""

    def train(
        self,
        spec: ModelSpec,
        start: GlobalModel,
        data: Batch,
        settings: TrainSettings,
        *,
        seed: int,
        progress: Progress,
    ) -> Int64Array:
        """An admissible theta, int64 [P]; the same arguments give the same theta.

        Raises `Rejected` if the trained model exceeds a bound.
        """
        ...


def find_trainer(name: str = "mlp", entries: EntryPoints | None = None) -> Trainer:
    """The trainer of this name; raises `Fatal` with DEPENDENCY if there is none."""
    factory = cast("Callable[[], Trainer]", find_plugin(TRAIN_GROUP, name, entries))
    return factory()
