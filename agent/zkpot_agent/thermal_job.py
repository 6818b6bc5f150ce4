"""Training that pauses while the board is too hot or its owner wants quiet."""

from zkpot.aggregate import GlobalModel
from zkpot.proof.system import ModelOpening, Progress
from zkpot.task import Task
from zkpot_agent import jobs
from zkpot_agent.config import DataConfig, TrainConfig
from zkpot_agent.profile_holds import Holds, Watch, pausing


def train(
    progress: Progress,
    holds: Holds,
    task: Task,
    start: GlobalModel,
    data: DataConfig,
    config: TrainConfig,
    seed: int,
) -> ModelOpening:
    """`jobs.train`, held up at its steps as `holds` says."""
    return jobs.train(pausing(progress, Watch(holds)), task, start, data, config, seed)
