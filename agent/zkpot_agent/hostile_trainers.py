"""Attacks on the model itself, as the trainers of devices that make them.

The protocol lets them: they commit to an admissible model and prove its true count. Only the
gate, the model's bounds, and a robust rule stand against them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.batch import Batch
from zkpot.model import Int64Array, ModelSpec
from zkpot.proof.system import ModelOpening
from zkpot.proof.system import Progress as JobProgress
from zkpot.task import Task
from zkpot_agent.config import DataConfig, TrainConfig
from zkpot_agent.data.source import load_samples, open_source
from zkpot_agent.profile_holds import Holds
from zkpot_agent.train.mlp import MlpTrainer
from zkpot_agent.train.network import scales
from zkpot_agent.train.trainer import Progress, Trainer, TrainSettings


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What an attacker works with; `train` is honest training on the data it is given."""

    spec: ModelSpec
    start: GlobalModel
    data: Batch
    seed: int
    train: Callable[[Batch], Int64Array]


Attack: TypeAlias = Callable[[Knowledge], Int64Array]
"""Makes an admissible theta, int64 [P]; the same knowledge gives the same theta."""


def sign_flip(known: Knowledge) -> Int64Array:
    """Trains honestly, then goes as far in the opposite direction.

    Li, Xu, Chen, Giannakis, Ling: RSA: Byzantine-Robust Stochastic Aggregation Methods for
    Distributed Learning from Heterogeneous Datasets. AAAI 2019, section 5.
    """
    grid = scales(known.spec)
    return grid.to_theta(grid.to_float(2 * known.start.mean - known.train(known.data)))


def gaussian(known: Knowledge) -> Int64Array:
    """Trains nothing and commits to noise, half as wide as the range of a weight.

    Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent. NeurIPS 2017, section 6.
    """
    grid = scales(known.spec)
    generator = np.random.default_rng(known.seed)
    return grid.to_theta(generator.normal(0, grid.high.min() / 2, known.spec.shape.parameters))


def label_flip(known: Knowledge) -> Int64Array:
    """Trains on labels that are turned around: the first class is called the last.

    Fang, Cao, Jia, Gong: Local Model Poisoning Attacks to Byzantine-Robust Federated Learning.
    USENIX Security 2020, section 4.1.
    """
    turned = (known.spec.shape.classes - 1 - known.data.labels).astype(np.uint8)
    return known.train(Batch(known.data.inputs, turned))


def free_rider(known: Knowledge) -> Int64Array:
    """Trains nothing and commits to the model it was given.

    Lin, Du, Liu: Free-riders in Federated Learning: Attacks and Defenses. 2019 (arXiv
    1911.12560), section 3.
    """
    return known.start.theta


NAME_TO_ATTACK: dict[str, Attack] = {
    "sign-flip": sign_flip,
    "gaussian": gaussian,
    "label-flip": label_flip,
    "free-rider": free_rider,
}


@dataclass(frozen=True)
class Attacker:
    """The trainer of a device that makes this attack."""

    attack: Attack

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
        """See `Trainer.train`."""

        def honest(samples: Batch) -> Int64Array:
            return MlpTrainer().train(spec, start, samples, settings, seed=seed, progress=progress)

        return self.attack(Knowledge(spec, start, data, seed, honest))


def train_with(
    trainer: Trainer,
    progress: JobProgress,
    _holds: Holds,
    task: Task,
    start: GlobalModel,
    data: DataConfig,
    config: TrainConfig,
    seed: int,
) -> ModelOpening:
    """`thermal_job.train` with this trainer, whatever the config names, and never held up."""
    samples = load_samples(open_source(data.source, data.parameters), task.model.shape)
    theta = trainer.train(task.model, start, samples, config.settings, seed=seed, progress=progress)
    return ModelOpening(theta, b"")
