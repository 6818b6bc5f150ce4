"""The agent's configuration file. What it settles cannot be changed over MQTT."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from zkpot.ids import TaskId
from zkpot.link import BrokerSettings
from zkpot.proof.child import Limits
from zkpot.wire.codec import Span
from zkpot_agent.train.trainer import TrainSettings

_HEX_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class DataConfig:
    """The plug-in that reads this device's private data, and its parameters."""

    source: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainConfig:
    """The trainer, its settings, and a seed for demonstrations.

    Without a seed every round's training draws fresh randomness, which also blurs what
    differences between rounds reveal.
    """

    trainer: str = "mlp"
    settings: TrainSettings = field(default_factory=TrainSettings)
    seed: int | None = None


@dataclass(frozen=True)
class LimitsConfig:
    """What training and proving may use on this device; none means no limit."""

    memory_mb: Annotated[int, Span(32, 1 << 20)] | None = None
    cores: Annotated[int, Span(1, 256)] | None = None
    nice: Annotated[int, Span(0, 19)] = 5

    def of(self, wall_seconds: float) -> Limits:
        """As limits of one child process."""
        memory = None if self.memory_mb is None else self.memory_mb << 20
        return Limits(memory, self.cores, self.nice, wall_seconds)


@dataclass(frozen=True)
class PrivacyConfig:
    """What this device agrees to, whatever a task asks.

    In the aggregation modes named `plain:…` the aggregator sees this device's model.
    """

    aggregation: tuple[str, ...] = ("plain:fedavg",)


@dataclass(frozen=True)
class AgentConfig:
    """Everything `zkpot-agent run` needs; relative paths start at the file's folder."""

    task: str
    operator_key: str
    key_file: Path
    state_dir: Path
    broker: BrokerSettings
    data: DataConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        for name, text in (("task", self.task), ("operator_key", self.operator_key)):
            if not _HEX_DIGEST.fullmatch(text):
                raise ValueError(f"{name}: expected 64 hexadecimal digits")

    @property
    def task_id(self) -> TaskId:
        """The task this device takes part in."""
        return TaskId(bytes.fromhex(self.task))

    @property
    def operator_public_key(self) -> bytes:
        """The Ed25519 key of the aggregator; the task's manifest must name the same."""
        return bytes.fromhex(self.operator_key)
