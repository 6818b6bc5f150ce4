"""The prover's configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from zkpot.credentials import Credentials
from zkpot.link import BrokerSettings
from zkpot.proof.child import Limits
from zkpot.proof.registry import EZKL, SUMCHECK, available
from zkpot.wire.codec import Span

CREDENTIAL = "prover"
"""The id of `LoadCredential=` in the unit."""


@dataclass(frozen=True)
class DaskConfig:
    """A Dask cluster that proves instead of processes of this machine.

    Workers open the sealed jobs themselves: `key_file` is where the prover's key lies on each.
    `resources` restricts jobs to workers that have them, like `{ GPU = 1 }`.
    """

    scheduler: str
    key_file: Path
    workers: Annotated[int, Span(1, 10_000)]
    resources: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class JobLimits:
    """What one job may use, and how many may wait; `memory_mb` is of its process."""

    memory_mb: Annotated[int, Span(32, 1 << 20)] = 2048
    cores: Annotated[int, Span(1, 256)] = 1
    nice: Annotated[int, Span(0, 19)] = 5
    seconds: Annotated[int, Span(1, 24 * 3600)] = 3600
    queue: Annotated[int, Span(1, 1000)] = 16
    sealed_mb: Annotated[int, Span(1, 64)] = 16

    @property
    def of_child(self) -> Limits:
        """As limits of one child process."""
        return Limits(self.memory_mb << 20, self.cores, self.nice, self.seconds)


@dataclass(frozen=True)
class ProverConfig:
    """Everything `zkpot-aggregator prover` needs; relative paths start at the file's folder.

    `devices` are the public keys, in hexadecimal, of those it works for. `ezkl_binary` is an
    `ezkl` program that makes the proofs of `ezkl/1`, on each worker if there is a cluster.
    """

    key_file: Path
    state_dir: Path
    broker: BrokerSettings
    devices: tuple[str, ...]
    proof_systems: tuple[str, ...] = (SUMCHECK,)
    workers: Annotated[int, Span(1, 256)] = 1
    limits: JobLimits = field(default_factory=JobLimits)
    dask: DaskConfig | None = None
    cache_dir: Path | None = None
    ezkl_binary: Path | None = None

    def __post_init__(self) -> None:
        if not self.devices or any(len(bytes.fromhex(text)) != 32 for text in self.devices):
            raise ValueError("devices: expected 64 hexadecimal digits for each of at least one")
        unknown = [name for name in self.proof_systems if name not in available()]
        if unknown or not self.proof_systems:
            raise ValueError(f"proof_systems: expected some of {', '.join(available())}")
        if self.ezkl_binary is not None and EZKL not in self.proof_systems:
            raise ValueError(f"ezkl_binary: is for {EZKL}, which proof_systems does not offer")

    @property
    def device_keys(self) -> tuple[bytes, ...]:
        """The Ed25519 keys of the devices."""
        return tuple(bytes.fromhex(text) for text in self.devices)

    @property
    def slots(self) -> int:
        """Jobs that are proven at once."""
        return self.workers if self.dask is None else self.dask.workers


def with_credentials(config: ProverConfig) -> ProverConfig:
    """`config` with the service manager's copies of its secret files, where there are some."""
    credentials = Credentials(CREDENTIAL)
    return replace(
        config,
        key_file=credentials.file(config.key_file),
        broker=credentials.broker(config.broker),
    )
