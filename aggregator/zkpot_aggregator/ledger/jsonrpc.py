"""The ledger on any chain with a JSON-RPC node.

Reads speak of one block with `confirmations` blocks on top. A call that is in a block, but
not deep enough, is waited for and not sent again. Where a reorganisation goes deeper than
that, cached events are dropped, and before anything new is sent the stored calls that it
took back are sent again as they were, in their order. If a beacon comes out differently, or
would not follow from the chain's headers, the round cannot be closed on it
(`BeaconReplaced`): the round has to fail.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from web3 import Web3
from web3.exceptions import BadFunctionCallOutput, BlockNotFound, Web3ValueError

from zkpot.errors import ExitCode, Fatal, Transient, ZkpotError
from zkpot.ids import Round, TaskId
from zkpot_aggregator.answers import shown
from zkpot_aggregator.ledger import abi
from zkpot_aggregator.ledger.base import Identity, Receipt
from zkpot_aggregator.ledger.beacon import BeaconReplaced
from zkpot_aggregator.ledger.calls import (
    Address,
    Call,
    CloseRound,
    CreateTask,
    DrawBeacon,
    FailRound,
    check_call,
)
from zkpot_aggregator.ledger.callstore import CallStore, StoredCall, Tip
from zkpot_aggregator.ledger.contract import ContractLedger
from zkpot_aggregator.ledger.endpoint import Endpoint, connect, understood
from zkpot_aggregator.ledger.node_account import NodeAccount
from zkpot_aggregator.ledger.settings import JsonRpcSettings
from zkpot_aggregator.ledger.views import ZERO, Event, Phase, RoundView, TaskView

_logger = logging.getLogger(__name__)

BLOCKHASH_WINDOW = 256
"""So many blocks back contracts can look."""


class JsonRpcLedger(ContractLedger):
    """A `Ledger` on a node. Use `open`; `store_file` keeps the calls that took effect."""

    def __init__(
        self, web3: Web3, settings: JsonRpcSettings, account: NodeAccount, store: CallStore
    ) -> None:
        super().__init__(web3, settings.address, account, first_block=settings.first_block)
        self._settings = settings
        self._node_account = account
        self._store = store
        self._cached_tip: Tip | None = None

    @classmethod
    def open(cls, settings: JsonRpcSettings, store_file: Path | None = None) -> Self:
        """Connects when first asked; raises `Fatal` for an unusable key, file or URL."""
        key = settings.key()
        web3 = connect(settings.endpoint(), settings.request_s)
        return cls(web3, settings, NodeAccount(web3, settings, key), CallStore(store_file))

    def identity(self) -> Identity:
        """See `Ledger.identity`; the chain must be the configured one, too."""
        with understood():
            if self._identity is None:
                found = self._web3.eth.chain_id
                if found != self._settings.chain_id:
                    raise Fatal(
                        ExitCode.LEDGER,
                        f"the node is on chain {shown(str(found))},"
                        f" expected {self._settings.chain_id}",
                    )
            return super().identity()

    def submit(self, call: Call) -> Receipt:
        """See `Ledger.submit`; returns once the effect has its confirmations."""
        check_call(call)
        with understood():
            return self._submit(call)

    def task(self, task: TaskId) -> TaskView:
        """See `Ledger.task`."""
        with understood():
            return super().task(task)

    def round(self, task: TaskId, number: Round) -> RoundView:
        """See `Ledger.round`."""
        with understood():
            return super().round(task, number)

    def events(self, task: TaskId) -> tuple[Event, ...]:
        """See `Ledger.events`."""
        with understood():
            return super().events(task)

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        """See `Ledger.wait_for_block`."""
        with understood():
            super().wait_for_block(height, timeout_s)

    def _submit(self, call: Call) -> Receipt:
        self.identity()
        self._mend(call)
        if isinstance(call, CloseRound):
            self._check_beacon_stands(call)
        if isinstance(call, DrawBeacon):
            self._check_hash_is_known(call)
        receipt = super().submit(call)
        if isinstance(call, FailRound):
            self._forget_lost_draw(call)
        tip = Tip(receipt.block, self._block_hash(receipt.block))
        self._store.remember(StoredCall(call, self._beacon_of(call)), tip)
        return receipt

    def close(self) -> None:
        """Ends the connections to the node."""
        provider = self._web3.provider
        assert isinstance(provider, Endpoint)
        provider.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _sender(self, call: Call) -> Address:
        """Without a key the task's operator is simulated."""
        if self._node_account.can_send or isinstance(call, CreateTask):
            return self._account.address
        return self.task(call.task).operator

    def _height(self) -> int:
        return max(0, self._web3.eth.block_number - self._settings.confirmations)

    def _read_height(self) -> int:
        """Raises `Transient` for one before our last effect: some nodes are several machines."""
        height, tip = self._height(), self._store.tip
        if tip is not None and height < tip.height:
            raise Transient(f"the node is behind: at block {height}, it was at {tip.height}")
        return height

    def _task(self, task: TaskId, height: int) -> TaskView:
        try:
            return super()._task(task, height)
        except BadFunctionCallOutput as error:
            raise Transient(f"the contract is not in block {height} yet") from error

    def _inconsistent(self, message: str) -> ZkpotError:
        return Transient(f"{message}: the node is behind or the chain moved")

    def _stands(self, call: Call) -> bool:
        """Also waits for an effect that is in a block already, but not deep enough."""
        if self._shown(call, self._height()):
            return True
        latest = self._web3.eth.block_number
        if not self._shown(call, latest):
            return False
        _logger.info("%s waits for its confirmations", abi.function_name(call))
        depth = self._settings.confirmations
        self._account.wait_for_block(latest + depth, self._settings.confirm_s)
        return self._shown(call, self._height())

    def _mend(self, call: Call) -> None:
        """Sends again what a reorganisation took back, before `call` relies on it."""
        tip = self._store.tip
        if tip is None or self._block_hash(tip.height) == tip.block_hash:
            return
        _logger.warning("block %d was reorganised away: looking after earlier calls", tip.height)
        for earlier in self._store.before(call):
            try:
                receipt = self._submit_again(earlier)
            except BeaconReplaced:
                if not (isinstance(call, FailRound) and call.round == _round_of(earlier)):
                    raise
                _logger.warning("round %d fails without its draw", call.round)
                continue
            tip = Tip(receipt.block, self._block_hash(receipt.block))
        self._store.move_tip(tip)

    def _submit_again(self, earlier: Call) -> Receipt:
        if isinstance(earlier, DrawBeacon):
            view = self._round(earlier.task, earlier.round, self._web3.eth.block_number)
            self._account.wait_for_block(view.draw_height + 1, self._settings.confirm_s)
            self._check_hash_is_known(earlier)
        if isinstance(earlier, CloseRound):
            self._check_beacon_stands(earlier)
        return super().submit(earlier)

    def _check_hash_is_known(self, call: DrawBeacon) -> None:
        """Raises `BeaconReplaced` where contracts see another hash than the header's.

        A node that lost its past does that (anvil after a restart): a beacon drawn there would
        follow from nothing that anybody can check.
        """
        latest = self._web3.eth.block_number
        view = self._round(call.task, call.round, latest)
        height = view.draw_height
        if view.phase is not Phase.SEALED or not height < latest <= height + BLOCKHASH_WINDOW:
            return
        header = self._block_hash(height)
        seen = abi.block_hash_seen(self._web3, height)
        if self._block_hash(height) != header:
            raise Transient(f"block {height} was replaced just now")
        if seen != header:
            raise BeaconReplaced(
                f"round {call.round}: contracts see {seen.hex()} as hash of block {height},"
                f" its header has {header.hex()}"
            )

    def _forget_lost_draw(self, failed: FailRound) -> None:
        """A draw that was taken back before its round failed can never be sent again."""
        latest = self._web3.eth.block_number
        if self._round(failed.task, failed.round, latest).beacon == ZERO:
            self._store.forget(DrawBeacon(failed.task, failed.round))

    def _check_beacon_stands(self, call: CloseRound) -> None:
        used = self._store.beacon(call.task, call.round)
        if used is None:
            return
        now = self._round(call.task, call.round, self._height()).beacon
        if now != used:
            raise BeaconReplaced(
                f"round {call.round}: the record rests on beacon {used.hex()}, a"
                f" reorganisation made it {now.hex()}"
            )

    def _beacon_of(self, call: Call) -> bytes:
        if not isinstance(call, DrawBeacon):
            return b""
        return self._round(call.task, call.round, self._height()).beacon

    def _block_hash(self, height: int) -> bytes:
        """Empty if the chain is no longer that high."""
        try:
            return bytes(self._web3.eth.get_block(height)["hash"])
        except BlockNotFound:
            return b""

    def _all_events(self) -> Sequence[Event]:
        """Up to the confirmed block; forgets what it knew if the chain changed below."""
        cached = self._cached_tip
        if cached is not None and self._block_hash(cached.height) != cached.block_hash:
            _logger.warning("block %d was reorganised away: reading events anew", cached.height)
            self._events.clear()
            self._next_block = self._settings.first_block
        # Noted before events are read, so that no change from here on goes unseen.
        last = max(self._height(), self._next_block - 1)
        self._cached_tip = Tip(last, self._block_hash(last))
        return self._events_until(last)


def _round_of(call: Call) -> int:
    return 0 if isinstance(call, CreateTask) else call.round


def open_for_audit(
    url: str, contract: str, *, first_block: int = 0, confirmations: int = 0
) -> JsonRpcLedger:
    """A ledger to read only, on whatever chain the node is; raises `Fatal` for no address."""
    web3 = connect(url, JsonRpcSettings.request_s)
    with understood():
        chain_id = web3.eth.chain_id
    try:
        settings = JsonRpcSettings(
            chain_id=chain_id,
            contract=contract,
            url=url,
            first_block=first_block,
            confirmations=confirmations,
        )
    except (ValueError, Web3ValueError) as error:
        raise Fatal(ExitCode.USAGE, str(error)) from error
    return JsonRpcLedger(web3, settings, NodeAccount(web3, settings, None), CallStore(None))
