"""The ledger over web3, whatever stands behind it: a chain in this process or a node.

Order of `submit`: 1 the call's form; 2 the contract's code is the pinned one; 3 look whether
the effect stands already; 4 simulate; 5 send. How a transaction is signed, priced and
confirmed is the `Account`'s business.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from eth_utils.crypto import keccak
from web3 import Web3
from web3.exceptions import ContractLogicError
from web3.types import TxParams, TxReceipt

from zkpot.errors import ExitCode, Fatal, Reason, Rejected, ZkpotError
from zkpot.ids import Round, TaskId
from zkpot_aggregator.answers import shown
from zkpot_aggregator.ledger import abi, effects
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.base import Identity, LedgerReverted, Receipt
from zkpot_aggregator.ledger.beacon import check_beacon
from zkpot_aggregator.ledger.calls import Address, Call, CreateTask, OpenRound, check_call
from zkpot_aggregator.ledger.creation import check_creation
from zkpot_aggregator.ledger.views import ZERO, BeaconDrawn, Event, Phase, RoundView, TaskView

_logger = logging.getLogger(__name__)

_NO_OPERATOR = bytes(20)
_SUCCEEDED = 1

LOG_SPAN_BLOCKS = 5000
"""Blocks in one request for logs; public endpoints refuse more than about this."""


class Account(Protocol):
    """Who calls, and how a transaction of theirs gets into a block."""

    @property
    def address(self) -> Address:
        """The sender of calls, and of the questions asked."""

    def send(self, transaction: TxParams) -> TxReceipt:
        """Completes, signs and sends; returns once the transaction is in a block.

        Raises `Transient` if that did not happen in time, `Fatal` (KEY) without a key.
        """

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        """As `Ledger.wait_for_block`."""


class ContractLedger:
    """A `Ledger` on the contract at `address`, which was made in `first_block`."""

    def __init__(
        self, web3: Web3, address: Address, account: Account, *, first_block: int = 0
    ) -> None:
        self._web3 = web3
        self._address = address
        self._account = account
        self._contract = abi.contract_at(web3, address)
        self._reader = abi.EventReader(self._contract)
        self._events: list[Event] = []
        self._first_block = self._next_block = first_block
        self._creation_checked = False
        self._identity: Identity | None = None

    def identity(self) -> Identity:
        """See `Ledger.identity`."""
        if self._identity is None:
            code_hash = keccak(bytes(self._web3.eth.get_code(abi.checksum(self._address))))
            pinned = load_artifact().code_hash
            if code_hash != pinned:
                raise Fatal(
                    ExitCode.LEDGER,
                    f"the code at 0x{self._address.hex()} hashes to {code_hash.hex()},"
                    f" expected {pinned.hex()}",
                )
            self._check_creation()
            self._identity = Identity(self._web3.eth.chain_id, self._address, code_hash)
        return self._identity

    def _check_creation(self) -> None:
        if not self._creation_checked:
            check_creation(self._web3, self._address, self._first_block)
            self._creation_checked = True

    def submit(self, call: Call) -> Receipt:
        """See `Ledger.submit`."""
        # 1 the call's form
        check_call(call)
        # 2 the contract's code, asked for anew before each round
        if isinstance(call, OpenRound):
            self._identity = None
        self.identity()
        # 3 look whether the effect stands already
        if self._stands(call):
            _logger.debug("%s stands already", abi.function_name(call))
            return self._receipt_of(call)
        # 4 simulate
        transaction: TxParams = {
            "from": abi.checksum(self._sender(call)),
            "to": abi.checksum(self._address),
            "data": abi.call_data(self._contract, call),
        }
        try:
            self._simulate(call, transaction)
        except LedgerReverted:
            # What was pending at the look may have come into a block since.
            if not self._stands(call):
                raise
            return self._receipt_of(call)
        # 5 send
        mined = self._account.send(transaction)
        if mined["status"] != _SUCCEEDED:
            # Between the simulation and the block somebody else drew the beacon, or took away
            # what the call needs, like the last of the votes that settle a round.
            if self._stands(call):
                return self._receipt_of(call)
            self._simulate(call, transaction)
        receipt = _receipt(mined)
        _logger.info(
            "%s in block %d, %d gas", abi.function_name(call), receipt.block, receipt.gas_used
        )
        return receipt

    def task(self, task: TaskId) -> TaskView:
        """See `Ledger.task`."""
        return self._task(task, self._read_height())

    def round(self, task: TaskId, number: Round) -> RoundView:
        """See `Ledger.round`."""
        view = self._round(task, number, self._read_height())
        if view.beacon == ZERO:
            return view
        drawn = [
            event
            for event in self.events(task)
            if isinstance(event, BeaconDrawn) and event.round == number
        ]
        if len(drawn) != 1:
            raise self._inconsistent(f"round {number} is drawn, but has no event of it")
        view = replace(view, block_hash=drawn[0].block_hash)
        header = self._web3.eth.get_block(view.draw_height)
        check_beacon(self.identity(), view, bytes(header["hash"]))
        return view

    def events(self, task: TaskId) -> tuple[Event, ...]:
        """See `Ledger.events`."""
        return tuple(event for event in self._all_events() if event.task == task)

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        """See `Ledger.wait_for_block`."""
        self._account.wait_for_block(height, timeout_s)

    def _task(self, task: TaskId, height: int) -> TaskView:
        words = self._contract.functions.get_task(task).call(
            {"from": abi.checksum(self._account.address)}, block_identifier=height
        )
        view = abi.task_view(task, words)
        if view.operator == _NO_OPERATOR:
            raise Rejected(Reason.UNKNOWN_TASK, f"no task {task.hex()} on the ledger")
        return view

    def _simulate(self, call: Call, transaction: TxParams) -> None:
        try:
            self._web3.eth.call(transaction)
        except ContractLogicError as error:
            raise LedgerReverted(call, _revert_word(error)) from error

    def _sender(self, call: Call) -> Address:  # noqa: ARG002  (a ledger without a key asks)
        """Whose transaction is simulated."""
        return self._account.address

    def _height(self) -> int:
        """The block that is read: all answers of one method speak of it."""
        return self._web3.eth.block_number

    def _read_height(self) -> int:
        """`_height`, where every effect of our own that was reported has to be seen."""
        return self._height()

    def _inconsistent(self, message: str) -> ZkpotError:
        """What to raise when state and events of the chain disagree."""
        return Fatal(ExitCode.LEDGER, message)

    def _round(self, task: TaskId, number: Round, height: int) -> RoundView:
        """A round in one block, without the hash that only its event tells."""
        task_view = self._task(task, height)
        words = self._contract.functions.get_round(task, number).call(
            {"from": abi.checksum(self._account.address)}, block_identifier=height
        )
        return abi.round_view(task_view, number, words, ZERO)

    def _stands(self, call: Call) -> bool:
        """Whether the effect is there to stay; raises `LedgerConflict` for another one."""
        return self._shown(call, self._height())

    def _shown(self, call: Call, height: int) -> bool:
        sender = self._account.address
        if not isinstance(call, CreateTask):
            view = self._round(call.task, call.round, height)
            return view.phase is not Phase.NONE and effects.round_shown(call, sender, view)
        try:
            return effects.task_shown(call, sender, self._task(call.task, height))
        except Rejected:
            return False

    def _receipt_of(self, call: Call) -> Receipt:
        sender = self._account.address
        for event in self._all_events():
            if effects.made_by(call, sender, event):
                return _receipt(self._web3.eth.get_transaction_receipt(event.tx_hash))  # type: ignore[arg-type]
        raise self._inconsistent(f"{call!r} has taken effect, but there is no event of it")

    def _all_events(self) -> Sequence[Event]:
        """Every event of the contract."""
        return self._events_until(self._height())

    def _events_until(self, last: int) -> Sequence[Event]:
        """Each block is asked for once."""
        while self._next_block <= last:
            end = min(self._next_block + LOG_SPAN_BLOCKS - 1, last)
            logs = self._web3.eth.get_logs(
                {
                    "address": abi.checksum(self._address),
                    "fromBlock": self._next_block,
                    "toBlock": end,
                }
            )
            self._events.extend(self._reader.read(log) for log in logs)
            self._next_block = end + 1
        return self._events


def _receipt(receipt: TxReceipt) -> Receipt:
    if receipt["status"] != _SUCCEEDED:
        raise Fatal(
            ExitCode.LEDGER,
            f"transaction 0x{bytes(receipt['transactionHash']).hex()} failed although its"
            " simulation did not: something else moved the ledger in between",
        )
    block, gas_used = receipt["blockNumber"], receipt["gasUsed"]
    if type(block) is not int or type(gas_used) is not int:
        raise TypeError("a receipt whose block or gas is no number")
    return Receipt(bytes(receipt["transactionHash"]), block, gas_used)


def _revert_word(error: ContractLogicError) -> str:
    text = str(error.message or error)
    return shown(text.removeprefix("execution reverted: "))
