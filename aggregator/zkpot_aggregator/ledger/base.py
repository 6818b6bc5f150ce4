"""The ledger as the rest of the program sees it: six synchronous methods.

A caller never asks whether its transaction was sent: it submits the same call again, and
gets the receipt of the transaction that first had this effect.
"""

from dataclasses import dataclass
from typing import Protocol

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import Round, TaskId
from zkpot_aggregator.ledger.calls import Address, Call
from zkpot_aggregator.ledger.views import Event, RoundView, TaskView

EMBEDDED_CHAIN_ID = 131277322940537
"""eth-tester's. On this chain the operator makes every block, and so every beacon."""


@dataclass(frozen=True)
class Identity:
    """Which contract on which chain: bound into task digests and beacons."""

    chain_id: int
    contract: Address
    code_hash: bytes
    """Keccak-256 of the runtime code, pinned by the package's artefact."""


@dataclass(frozen=True)
class Receipt:
    """The transaction that made a call's effect."""

    tx_hash: bytes
    block: int
    gas_used: int


class LedgerConflict(Fatal):
    """The ledger already shows another effect where this call's would stand."""

    def __init__(self, message: str) -> None:
        super().__init__(ExitCode.LEDGER, message)


class LedgerReverted(Fatal):
    """The contract refuses the call; `word` is its stable revert string."""

    def __init__(self, call: Call, word: str) -> None:
        super().__init__(ExitCode.LEDGER, f"the ledger refuses {type(call).__name__}: {word}")
        self.call = call
        self.word = word


class Ledger(Protocol):
    """Task and round state on a chain. One thread at a time may use it.

    Every method raises `Transient` when the chain cannot be reached, and `Fatal` when what
    stands there is not the pinned contract.
    """

    def identity(self) -> Identity:
        """Chain, contract and code; that, and what made it, are checked against the pinned ones."""

    def submit(self, call: Call) -> Receipt:
        """Makes `call` take effect, or finds that it has; returns once it is in a block.

        Raises `LedgerConflict` if another effect stands in its place, `LedgerReverted` if
        the contract refuses it (nothing was sent), ValueError for a malformed call.
        """

    def task(self, task: TaskId) -> TaskView:
        """Raises `Rejected` (UNKNOWN_TASK) for a task that was never created."""

    def round(self, task: TaskId, number: Round) -> RoundView:
        """A drawn round's beacon is recomputed from the chain's own headers first.

        Raises `Rejected` (UNKNOWN_TASK, BEACON_MISMATCH).
        """

    def events(self, task: TaskId) -> tuple[Event, ...]:
        """All events of the task in the order of the chain; empty for an unknown task."""

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        """Returns once the chain has a block of this height; raises `Transient` if late."""
