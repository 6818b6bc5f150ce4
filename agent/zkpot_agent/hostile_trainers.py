"""Trainers of devices that attack the model itself.

The protocol lets them: they commit to an admissible model and prove its true count. Only the
gate, the model's bounds, and a robust rule stand against them.
"""

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


class SignFlip:
    """Trains honestly, then goes as far in the opposite direction.

    Li, Xu, Chen, Giannakis, Ling: RSA: Byzantine-Robust Stochastic Aggregation Methods for
    Distributed Learning from Heterogeneous Datasets. AAAI 2019, section 5.
    """

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
        honest = MlpTrainer().train(spec, start, data, settings, seed=seed, progress=progress)
        grid = scales(spec)
        return grid.to_theta(grid.to_float(2 * start.mean - honest))


class Gaussian:
    """Trains nothing and commits to noise, half as wide as the range of a weight.

    Blanchard, El Mhamdi, Guerraoui, Stainer: Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent. NeurIPS 2017, section 6.
    """

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
        del start, data, settings, progress
        grid = scales(spec)
        generator = np.random.default_rng(seed)
        return grid.to_theta(generator.normal(0, grid.high.min() / 2, spec.shape.parameters))


class LabelFlip:
    """Trains on labels that are turned around: the first class is called the last.

    Fang, Cao, Jia, Gong: Local Model Poisoning Attacks to Byzantine-Robust Federated Learning.
    USENIX Security 2020, section 4.1.
    """

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
        flipped = Batch(data.inputs, (spec.shape.classes - 1 - data.labels).astype(np.uint8))
        return MlpTrainer().train(spec, start, flipped, settings, seed=seed, progress=progress)


class FreeRider:
    """Trains nothing and commits to the model it was given.

    Lin, Du, Liu: Free-riders in Federated Learning: Attacks and Defenses. 2019 (arXiv
    1911.12560), section 3.
    """

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
        del spec, data, settings, seed, progress
        return start.theta


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
    """`thermal_job.train` with this trainer, whatever the config names."""
    samples = load_samples(open_source(data.source, data.parameters), task.model.shape)
    theta = trainer.train(task.model, start, samples, config.settings, seed=seed, progress=progress)
    return ModelOpening(theta, b"")
