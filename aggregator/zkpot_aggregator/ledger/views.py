"""What the ledger shows: tasks, rounds, and the events that made them.

Words that were never set are zero, as on chain.
"""

from dataclasses import dataclass
from enum import IntEnum, unique

from zkpot.ids import Beacon, Round, TaskId
from zkpot_aggregator.ledger.calls import Address

ZERO = bytes(32)
"""A word that was never set."""


@unique
class Phase(IntEnum):
    """Where a round stands; the contract's numbers."""

    NONE = 0
    OPEN = 1
    SEALED = 2
    DRAWN = 3
    CLOSED = 4
    FAILED = 5
    FINAL = 6
    REJECTED = 7


UNFINISHED = frozenset({Phase.OPEN, Phase.SEALED, Phase.DRAWN})
"""Phases that keep the next round from opening."""


@dataclass(frozen=True)
class TaskView:
    """A task as it stands in one block."""

    task: TaskId
    operator: Address
    draw_delay: int
    validators: tuple[Address, ...]
    quorum: int
    last_round: Round
    """The last one ever opened, 0 before the first."""
    head: bytes
    """Digest of the last good record, or the task's own digest."""
    head_round: Round
    """The round that made the head, 0 for the task's own digest."""


@dataclass(frozen=True)
class RoundView:
    """A round as it stands in one block; phase NONE if it was never opened."""

    task: TaskId
    round: Round
    phase: Phase
    parent: bytes
    parent_round: Round
    roster_root: bytes
    root: bytes
    count: int
    seal_block: int
    draw_height: int
    """The block whose hash makes the beacon; 0 before the seal."""
    block_hash: bytes
    """Hash of the block at `draw_height`, as the contract saw it; zero before the draw."""
    beacon: Beacon
    record: bytes
    leader: bytes
    correct: int
    total: int
    fail_reason: int
    attested: tuple[Address, ...]
    """In the order of the task's validators, as is `rejected`."""
    rejected: tuple[Address, ...]


@dataclass(frozen=True)
class TaskCreated:
    """A task was registered."""

    block: int
    tx_hash: bytes
    task: TaskId
    operator: Address
    draw_delay: int
    validators: tuple[Address, ...]
    quorum: int


@dataclass(frozen=True)
class RoundOpened:
    """A round began."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    parent: bytes
    roster_root: bytes


@dataclass(frozen=True)
class CommitmentsSealed:
    """The list of commitments was fixed."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    root: bytes
    count: int
    draw_height: int


@dataclass(frozen=True)
class BeaconDrawn:
    """The round's randomness was fixed."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    draw_height: int
    block_hash: bytes
    beacon: Beacon


@dataclass(frozen=True)
class RoundClosed:
    """The round's record became the head."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    record: bytes
    leader: bytes
    correct: int
    total: int


@dataclass(frozen=True)
class RoundFailed:
    """The round ended without a record."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    phase: Phase
    """The phase in which it failed."""
    reason: int


@dataclass(frozen=True)
class RoundAttested:
    """A validator vouched for the round."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    record: bytes
    validator: Address
    final: bool
    """Whether this vote completed the quorum."""


@dataclass(frozen=True)
class RoundRejected:
    """A validator reported a fault in the round."""

    block: int
    tx_hash: bytes
    task: TaskId
    round: Round
    record: bytes
    validator: Address
    final: bool
    """Whether this vote completed the quorum and moved the head back."""


RoundEvent = (
    RoundOpened
    | CommitmentsSealed
    | BeaconDrawn
    | RoundClosed
    | RoundFailed
    | RoundAttested
    | RoundRejected
)
Event = TaskCreated | RoundEvent
