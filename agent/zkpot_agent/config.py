"""The agent's configuration file. What it settles cannot be changed over MQTT."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from pathlib import Path
from typing import Annotated

from zkpot.aggregation import MAX_GROUP, SECURE, parse_aggregation
from zkpot.credentials import Credentials
from zkpot.ids import TaskId
from zkpot.keys import device_id
from zkpot.link import BrokerSettings
from zkpot.proof.child import Limits
from zkpot.secure.groups import MINIMUM_GROUP, GroupPolicy
from zkpot.wire.codec import Span
from zkpot_agent.privacy.settings import PrivacySettings
from zkpot_agent.train.trainer import TrainSettings

JOURNAL_FILE = "journal.sqlite"
"""In `state_dir`."""

CREDENTIAL = "agent"
"""The id of `LoadCredential=` in the unit: it stands before the name of each file."""

_HEX_DIGEST = re.compile("[0-9a-f]{64}")


def _check_keys(name: str, keys: tuple[str, ...]) -> None:
    if not all(_HEX_DIGEST.fullmatch(text) for text in keys):
        raise ValueError(f"{name}: expected 64 hexadecimal digits each")
    if len(set(keys)) < len(keys):
        raise ValueError(f"{name}: one is named twice")


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
    seed: Annotated[int, Span(0, 1 << 62)] | None = None


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


@unique
class ProveMode(StrEnum):
    """Where proofs are made; `auto` estimates first."""

    LOCAL = "local"
    OFFLOAD = "offload"
    AUTO = "auto"


@dataclass(frozen=True)
class ProveConfig:
    """Where this device proves; without a mode as its profile says, or else on the device.

    `provers` are the public keys, in hexadecimal, of those that may see this device's model;
    the one with the shortest wait is asked first. One that is silent for `lease_s` loses the
    job to the next, which then sees the model too.
    """

    mode: ProveMode | None = None
    provers: tuple[str, ...] = ()
    lease_s: Annotated[int, Span(2, 3600)] = 20

    def __post_init__(self) -> None:
        _check_keys("provers", self.provers)
        if self.mode is ProveMode.OFFLOAD and not self.provers:
            raise ValueError("provers: is required for mode offload")

    @property
    def prover_keys(self) -> tuple[bytes, ...]:
        """The Ed25519 keys of the provers."""
        return tuple(bytes.fromhex(text) for text in self.provers)


@dataclass(frozen=True)
class PrivacyConfig:
    """What this device agrees to, whatever a task asks.

    In the aggregation modes named `plain:…` the aggregator sees this device's model. In
    `secure` nobody does; the group whose sum it is in must then have `minimum_group` members
    and, besides this device, one of each of `owners` and all of `devices`, which are public keys
    in hexadecimal. `differential` adds noise to the model before anybody sees it, in either mode.
    """

    aggregation: tuple[str, ...] = (SECURE,)
    minimum_group: Annotated[int, Span(2, MAX_GROUP)] = MINIMUM_GROUP
    owners: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    differential: PrivacySettings | None = None

    def __post_init__(self) -> None:
        for name in self.aggregation:
            parse_aggregation(name)
        _check_keys("devices", self.devices)

    @property
    def group_policy(self) -> GroupPolicy:
        """What this device demands of its group."""
        devices = frozenset(device_id(bytes.fromhex(text)) for text in self.devices)
        return GroupPolicy(self.minimum_group, frozenset(self.owners), devices)


@unique
class Accept(StrEnum):
    """Which records' global models a device takes: of all closed rounds, or of final ones."""

    CLOSED = "closed"
    FINAL = "final"


@dataclass(frozen=True)
class ModelConfig:
    """When a new global model is swapped in.

    `final` waits until a quorum of the task's validators vouches for the record; a model that
    becomes final only after the next round began is left out. A task without validators has no
    final records: every closed one is taken.
    """

    accept: Accept = Accept.CLOSED


@dataclass(frozen=True)
class ExportConfig:
    """Where new global models are put for applications; without a folder, in `state_dir`.

    Files in a folder of its own are readable for the folder's group. `tflite` also writes the
    model for LiteRT, where that is installed.
    """

    folder: Path | None = None
    tflite: bool = True


@dataclass(frozen=True)
class HookConfig:
    """Whom to tell of a new model: a command, a Unix socket, or both.

    Each gets one line of JSON, on standard input or through the socket, and `timeout_s` to
    take it.
    """

    command: tuple[str, ...] = ()
    socket: Path | None = None
    timeout_s: Annotated[int, Span(1, 600)] = 30


@dataclass(frozen=True)
class AgentConfig:
    """Everything `zkpot-agent run` needs; relative paths start at the file's folder.

    `profile` names a firmware profile, `auto` for this board's, or a file of the owner's.
    """

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
    profile: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    hook: HookConfig = field(default_factory=HookConfig)
    prove: ProveConfig = field(default_factory=ProveConfig)

    def __post_init__(self) -> None:
        for name, text in (("task", self.task), ("operator_key", self.operator_key)):
            if not _HEX_DIGEST.fullmatch(text):
                raise ValueError(f"{name}: expected 64 hexadecimal digits")
        profile = self.profile or ""
        if profile.endswith(".toml") and not Path(profile).is_absolute():
            # The service starts in another folder than its owner.
            raise ValueError(f"profile: {profile[:80]!r} is a file: expected its absolute path")

    @property
    def task_id(self) -> TaskId:
        """The task this device takes part in."""
        return TaskId(bytes.fromhex(self.task))

    @property
    def model_dir(self) -> Path:
        """Where the global model is published."""
        return self.export.folder or self.state_dir

    @property
    def journal_uri(self) -> str:
        """The journal's file as SQLite opens it read-only, beside a running service."""
        return f"{(self.state_dir / JOURNAL_FILE).absolute().as_uri()}?mode=ro"

    @property
    def operator_public_key(self) -> bytes:
        """The Ed25519 key of the aggregator; the task's manifest must name the same."""
        return bytes.fromhex(self.operator_key)


def with_credentials(config: AgentConfig, folder: Path | None = None) -> AgentConfig:
    """`config` with the service manager's copies of its secret files, where there are some."""
    credentials = Credentials(CREDENTIAL, folder)
    return replace(
        config,
        key_file=credentials.file(config.key_file),
        broker=credentials.broker(config.broker),
    )
