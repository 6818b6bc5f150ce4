"""The configuration file of `up`."""

from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Annotated

from zkpot.wire.codec import Span
from zkpot_aggregator.config import TaskConfig


@unique
class Broker(StrEnum):
    """`embedded` runs in the aggregator's process."""

    MOSQUITTO = "mosquitto"
    EMBEDDED = "embedded"


@unique
class ChainNode(StrEnum):
    """`embedded` runs in the aggregator's process."""

    ANVIL = "anvil"
    EMBEDDED = "embedded"


@unique
class Content(StrEnum):
    """`directory` is one in the aggregator's state; `ipfs` is Kubo's daemon as well."""

    IPFS = "ipfs"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class UpConfig:
    """What `up` starts, and where everything it makes is kept; paths start at the file's folder.

    Devices train on the digits data. Embedded parts run only where they are named here.
    """

    state_dir: Path
    task: TaskConfig
    devices: Annotated[int, Span(2, 50)] = 3
    validator: bool = False
    """One that has to attest each round; it needs mosquitto and anvil."""
    broker: Broker = Broker.MOSQUITTO
    chain: ChainNode = ChainNode.ANVIL
    content: Content = Content.IPFS
    block_s: Annotated[float, Span(0, 60)] = 1.0
    """Between two blocks of the chain."""

    def __post_init__(self) -> None:
        real = self.broker is Broker.MOSQUITTO and self.chain is ChainNode.ANVIL
        if self.validator and not real:
            raise ValueError("validator: the embedded broker and chain have no account for one")
