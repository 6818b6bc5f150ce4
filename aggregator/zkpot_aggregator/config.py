"""The aggregator's configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from pathlib import Path
from typing import Annotated, TypeVar

from zkpot.aggregation import FEDAVG, SECURE
from zkpot.credentials import Credentials
from zkpot.link import BrokerSettings
from zkpot.proof.registry import EZKL
from zkpot.wire.codec import Span
from zkpot_aggregator.ledger.settings import JsonRpcSettings

CREDENTIAL = "aggregator"
"""The id of `LoadCredential=` in the unit: it stands before the name of each file."""

Count = Annotated[int, Span(0, 1_000_000)]
Positive = Annotated[int, Span(1, 1_000_000)]


@unique
class BrokerKind(StrEnum):
    """`embedded` runs a broker in this process, on loopback, for the devices listed here."""

    EMBEDDED = "embedded"
    EXTERNAL = "external"


@dataclass(frozen=True)
class BrokerConfig:
    """Which broker. `settings` is for an external one; an embedded one picks a free port."""

    kind: BrokerKind = BrokerKind.EMBEDDED
    settings: BrokerSettings | None = None

    def __post_init__(self) -> None:
        if (self.kind is BrokerKind.EXTERNAL) != (self.settings is not None):
            raise ValueError("an external broker needs settings, an embedded one takes none")


@unique
class LedgerKind(StrEnum):
    """`embedded` is a chain in the state directory, `jsonrpc` any node."""

    EMBEDDED = "embedded"
    JSONRPC = "jsonrpc"


@dataclass(frozen=True)
class LedgerConfig:
    """Which ledger. See `zkpot-aggregator deploy` for the settings of a node."""

    kind: LedgerKind = LedgerKind.EMBEDDED
    settings: JsonRpcSettings | None = None

    def __post_init__(self) -> None:
        if (self.kind is LedgerKind.JSONRPC) != (self.settings is not None):
            raise ValueError("a jsonrpc ledger needs settings, an embedded one takes none")


@unique
class ContentKind(StrEnum):
    """`directory` keeps blocks in the state directory, `kubo` in an IPFS daemon as well."""

    DIRECTORY = "directory"
    KUBO = "kubo"


@dataclass(frozen=True)
class KuboSettings:
    """The daemon's RPC address, like `http://127.0.0.1:5001`: it must not be public.

    `gateways` are asked, in their order, for what is neither here nor in the daemon.
    `lookup_s` is the time given to a daemon to say that it lacks a block.
    """

    url: str
    gateways: tuple[str, ...] = ()
    timeout_s: Annotated[float, Span(1, 600)] = 30.0
    lookup_s: Annotated[float, Span(0, 60)] = 5.0


@dataclass(frozen=True)
class ContentConfig:
    """Which content store, and for how many of the last rounds; none means for all.

    The task's manifest and the record at the head of the chain are always kept.
    """

    kind: ContentKind = ContentKind.DIRECTORY
    settings: KuboSettings | None = None
    keep_rounds: Positive | None = None

    def __post_init__(self) -> None:
        if (self.kind is ContentKind.KUBO) != (self.settings is not None):
            raise ValueError("a kubo store needs settings, a directory takes none")


@dataclass(frozen=True)
class DeviceConfig:
    """A device that may take part: its public key in hexadecimal, and whose it is.

    `password_file` is its password for the embedded broker.
    """

    public_key: str
    owner: str = ""
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if len(bytes.fromhex(self.public_key)) != 32:
            raise ValueError("public_key: expected 64 hexadecimal digits")


@dataclass(frozen=True)
class ProverAccount:
    """A prover that may use the broker: its public key, and its password for an embedded one."""

    public_key: str
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if len(bytes.fromhex(self.public_key)) != 32:
            raise ValueError("public_key: expected 64 hexadecimal digits")


@dataclass(frozen=True)
class ValidatorConfig:
    """A validator: its account on chain and its public key, both in hexadecimal.

    `password_file` is its password for the embedded broker.
    """

    address: str
    public_key: str
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if len(bytes.fromhex(self.public_key)) != 32:
            raise ValueError("public_key: expected 64 hexadecimal digits")
        if len(bytes.fromhex(self.address.removeprefix("0x"))) != 20:
            raise ValueError("address: expected 40 hexadecimal digits")


Account = TypeVar("Account", DeviceConfig, ProverAccount, ValidatorConfig)


@dataclass(frozen=True)
class TaskConfig:
    """The task this aggregator creates if it has none yet. See `zkpot.task.Task`.

    Without `aggregation` it is secure, or `plain:fedavg` with a proof system that does not
    bound what would be summed unseen. Without `minimum_devices` it is as many as a group
    needs, or 2 in plain aggregation. A quorum of 0 means more than half of the validators.
    """

    name: str
    dataset: str
    proof_system: str
    rounds: Positive
    batch_size: Positive
    srs: str = ""
    seed: int = 0
    dataset_parameters: Mapping[str, object] = field(default_factory=dict)
    minimum_devices: Positive | None = None
    maximum_devices: Positive = 100
    gate_minimum: Count = 0
    gate_margin: Count = 0
    aggregation: str | None = None
    group_size: Positive = 32
    group_minimum: Positive = 5
    weighting: str = "equal"
    reuse_pool: bool = False
    draw_delay_blocks: Positive = 1
    commit_s: Positive = 300
    prove_s: Positive = 600
    aggregate_s: Positive = 60
    record_s: Positive = 30
    chain_s: Positive = 600
    attest_s: Positive = 600
    validators: tuple[ValidatorConfig, ...] = ()
    quorum: Count = 0

    @property
    def chosen_aggregation(self) -> str:
        """`aggregation`, or the default."""
        if self.aggregation is not None:
            return self.aggregation
        return f"plain:{FEDAVG}" if self.proof_system == EZKL else SECURE

    @property
    def needed_devices(self) -> int:
        """`minimum_devices`, or the default."""
        if self.minimum_devices is not None:
            return self.minimum_devices
        return self.group_minimum if self.chosen_aggregation == SECURE else 2


@dataclass(frozen=True)
class AggregatorConfig:
    """Everything `zkpot-aggregator run` needs; relative paths start at the file's folder."""

    key_file: Path
    state_dir: Path
    task: TaskConfig
    devices: tuple[DeviceConfig, ...]
    broker: BrokerConfig = field(default_factory=BrokerConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    content: ContentConfig = field(default_factory=ContentConfig)
    cache_dir: Path | None = None
    verify_workers: Annotated[int, Span(1, 64)] = 1
    provers: tuple[ProverAccount, ...] = ()

    def __post_init__(self) -> None:
        enrolled, most = len(self.devices), self.task.maximum_devices
        if enrolled > most:
            # The task promises that sums of so many models stay below 2^31.
            raise ValueError(f"{enrolled} devices, the task's maximum_devices is {most}")


def with_credentials(config: AggregatorConfig) -> AggregatorConfig:
    """`config` with the service manager's copies of its secret files, where there are some."""
    copies = Credentials(CREDENTIAL)
    broker, ledger = config.broker.settings, config.ledger.settings
    if ledger is not None:
        ledger = replace(
            ledger,
            url_file=ledger.url_file and copies.file(ledger.url_file),
            key_file=ledger.key_file and copies.file(ledger.key_file),
        )
    return replace(
        config,
        key_file=copies.file(config.key_file),
        broker=replace(config.broker, settings=broker and copies.broker(broker)),
        ledger=replace(config.ledger, settings=ledger),
        devices=tuple(_with_password(device, copies) for device in config.devices),
        provers=tuple(_with_password(prover, copies) for prover in config.provers),
        task=replace(
            config.task,
            validators=tuple(_with_password(each, copies) for each in config.task.validators),
        ),
    )


def _with_password(account: Account, copies: Credentials) -> Account:
    return replace(
        account, password_file=account.password_file and copies.file(account.password_file)
    )
