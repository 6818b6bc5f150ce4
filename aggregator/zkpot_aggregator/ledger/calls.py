"""What can be asked of the ledger, one frozen dataclass per function of the contract.

Each makes one event. `check_call` refuses what no chain could carry; whether a call is
allowed now is the contract's business alone.
"""

from dataclasses import dataclass, fields
from typing import NewType

from zkpot.ids import DIGEST_BYTES, Round, TaskId

Address = NewType("Address", bytes)
"""20 bytes: an account or a contract."""

ADDRESS_BYTES = 20

MAX_VALIDATORS = 32
"""As in the contract, whose votes are a bitmap."""

_UINT256_END = 1 << 256


@dataclass(frozen=True)
class CreateTask:
    """Registers a task; the sender becomes its operator."""

    task: TaskId
    draw_delay: int
    """Blocks between the seal and the block whose hash makes the beacon, 1 to 50400."""
    validators: tuple[Address, ...]
    quorum: int
    """Votes that make a round final or rejected; 0 exactly if there are no validators."""


@dataclass(frozen=True)
class OpenRound:
    """Opens the next round on top of the task's head."""

    task: TaskId
    round: Round
    parent: bytes
    """Digest of the last good record; the task's own digest before the first."""
    roster_root: bytes


@dataclass(frozen=True)
class SealCommitments:
    """Fixes the list of commitments and the height that makes the beacon."""

    task: TaskId
    round: Round
    root: bytes
    count: int


@dataclass(frozen=True)
class DrawBeacon:
    """Stores the beacon; anyone may, from the block after the draw height, for 256 blocks."""

    task: TaskId
    round: Round


@dataclass(frozen=True)
class CloseRound:
    """Commits the round's record, which becomes the task's head."""

    task: TaskId
    round: Round
    record: bytes
    leader: bytes
    """32 bytes; a 20-byte device id is padded with zeros on the left by `device_word`."""
    correct: int
    total: int


@dataclass(frozen=True)
class FailRound:
    """Ends an unfinished round without a record; the head stays."""

    task: TaskId
    round: Round
    reason: int
    """Not 0."""


@dataclass(frozen=True)
class Attest:
    """A validator vouches for a closed round."""

    task: TaskId
    round: Round
    record: bytes


@dataclass(frozen=True)
class RejectRound:
    """A validator reports a fault in the last closed round."""

    task: TaskId
    round: Round
    record: bytes


RoundCall = OpenRound | SealCommitments | DrawBeacon | CloseRound | FailRound | Attest | RejectRound
Call = CreateTask | RoundCall


def device_word(device: bytes) -> bytes:
    """A device id as the 32-byte word that stands for a leader."""
    return device.rjust(DIGEST_BYTES, b"\x00")


def check_call(call: Call) -> None:
    """Raises ValueError for a field that does not fit its type on chain."""
    for field in fields(call):
        value = getattr(call, field.name)
        if isinstance(value, bytes) and len(value) != DIGEST_BYTES:
            raise ValueError(f"{field.name}: expected {DIGEST_BYTES} bytes, got {len(value)}")
        if isinstance(value, int) and not 0 <= value < _UINT256_END:
            raise ValueError(f"{field.name}: {value} does not fit an unsigned 256-bit word")
        if isinstance(value, tuple):
            if len(value) > MAX_VALIDATORS:
                raise ValueError(f"{len(value)} validators, at most {MAX_VALIDATORS}")
            if any(len(address) != ADDRESS_BYTES for address in value):
                raise ValueError(f"{field.name}: expected addresses of {ADDRESS_BYTES} bytes")
