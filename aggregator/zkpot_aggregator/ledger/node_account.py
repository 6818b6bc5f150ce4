"""An account on a node: nonces, fees, and patience until a transaction is deep enough.

One transaction is under way at a time, and its nonce is the number of this account's mined
transactions, never of its pending ones. So nothing can leave a gap, and whatever else is
pending under the nonce, from a process that was killed, is replaced or overtakes: of all
transactions with one nonce a chain takes one. When it was another one, the caller looks
again (`Transient`).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress, HexStr
from eth_utils.address import to_canonical_address
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError
from web3.types import Nonce, TxParams, TxReceipt

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot_aggregator.answers import shown
from zkpot_aggregator.ledger.calls import ADDRESS_BYTES, Address
from zkpot_aggregator.ledger.fees import GWEI, Fees, raised, suggested
from zkpot_aggregator.ledger.settings import JsonRpcSettings

_logger = logging.getLogger(__name__)

NOBODY = Address(bytes(ADDRESS_BYTES))
_KNOWN = ("already known", "already imported", "known transaction")
_TOO_CHEAP = ("underpriced", "less than block base fee", "fee too low")


@dataclass
class _Attempt:
    """One nonce, and all that was sent under it."""

    transaction: dict[str, Any]
    nonce: Nonce
    fees: Fees
    sent_at: float = 0.0
    raw: bytes = b""
    hashes: list[HexBytes] = field(default_factory=list)


class NodeAccount:
    """An `Account` (see `ledger.contract`) with a key, or without one to read only."""

    def __init__(
        self,
        web3: Web3,
        settings: JsonRpcSettings,
        key: bytes | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._eth = web3.eth
        self._settings = settings
        self._cap = int(settings.max_fee_gwei * GWEI)
        self._signer: LocalAccount | None = None if key is None else EthAccount.from_key(key)
        self._clock = clock
        self._sleep = sleep

    @property
    def address(self) -> Address:
        """The account's, or nobody's without a key."""
        if self._signer is None:
            return NOBODY
        return Address(to_canonical_address(self._signer.address))

    @property
    def can_send(self) -> bool:
        """Whether there is a key."""
        return self._signer is not None

    def send(self, transaction: TxParams) -> TxReceipt:
        """See `Account.send`: returns once the transaction has its confirmations."""
        gas = self._gas(transaction)
        if self._signer is None:
            raise Fatal(
                ExitCode.KEY,
                f"dry run, no key is configured: would send {len(transaction['data'])} bytes"
                f" for about {gas} gas",
            )
        attempt = _Attempt(
            {"value": 0, **transaction, "gas": gas},
            self._eth.get_transaction_count(self._signer.address, "latest"),
            self._suggested(),
        )
        self._publish(attempt)
        return self._confirmed(attempt, self._signer.address)

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        """See `Ledger.wait_for_block`."""
        end = self._clock() + timeout_s
        while self._eth.block_number < height:
            if self._clock() >= end:
                raise Transient(f"block {height} was not made within {timeout_s} s")
            self._sleep(self._settings.poll_s)

    def _confirmed(self, attempt: _Attempt, sender: ChecksumAddress) -> TxReceipt:
        end = self._clock() + self._settings.confirm_s
        while True:
            mined = self._mined(attempt)
            if mined is not None:
                if self._eth.block_number - mined["blockNumber"] >= self._settings.confirmations:
                    return mined
            else:
                self._push(attempt, self._eth.get_transaction_count(sender, "latest"))
            if self._clock() >= end:
                raise Transient(
                    f"transaction 0x{attempt.hashes[-1].hex()} is not confirmed after"
                    f" {self._settings.confirm_s} s"
                )
            self._sleep(self._settings.poll_s)

    def _push(self, attempt: _Attempt, mined: int) -> None:
        """Does what helps a transaction that is in no block, after `mined` of the account's."""
        if mined > attempt.nonce:
            # It may have come into a block between the two questions.
            if self._mined(attempt) is None:
                raise Transient(f"another transaction took nonce {attempt.nonce}: looking again")
        elif mined < attempt.nonce:
            raise Transient("a reorganisation took earlier transactions back: looking again")
        elif self._clock() - attempt.sent_at >= self._settings.resend_s:
            self._raise(attempt)
            self._publish(attempt)
        elif not self._known(attempt.hashes[-1]):
            _logger.warning("the node has lost 0x%s: sending it again", attempt.hashes[-1].hex())
            self._send_raw(attempt)

    def _publish(self, attempt: _Attempt) -> None:
        """Signs at the attempt's fees, or at higher ones if the node asks for more."""
        assert self._signer is not None
        while True:
            signed = self._signer.sign_transaction(
                {
                    **{
                        name: value for name, value in attempt.transaction.items() if name != "from"
                    },
                    **attempt.fees.fields,
                    "nonce": attempt.nonce,
                    "chainId": self._settings.chain_id,
                }
            )
            attempt.raw = bytes(signed.raw_transaction)
            if signed.hash not in attempt.hashes:
                attempt.hashes.append(signed.hash)
            if self._send_raw(attempt):
                attempt.sent_at = self._clock()
                return
            self._raise(attempt)

    def _send_raw(self, attempt: _Attempt) -> bool:
        """False if the node wants a higher fee."""
        try:
            self._eth.send_raw_transaction(attempt.raw)
        except Web3RPCError as error:
            text = str(error.message).lower()
            if any(words in text for words in _KNOWN):
                return True
            if any(words in text for words in _TOO_CHEAP):
                return False
            if "insufficient funds" in text:
                raise Fatal(
                    ExitCode.LEDGER,
                    f"account 0x{self.address.hex()} cannot pay: {shown(str(error.message))}",
                ) from error
            # A nonce that is too low among them: then something of ours was mined.
            raise Transient(
                f"the node refuses the transaction: {shown(str(error.message))}"
            ) from error
        _logger.debug("sent 0x%s, nonce %d", attempt.hashes[-1].hex(), attempt.nonce)
        return True

    def _raise(self, attempt: _Attempt) -> None:
        fees = raised(attempt.fees, self._suggested(), self._cap)
        if fees is None:
            raise Transient(
                f"nonce {attempt.nonce} is stuck at {attempt.fees.most} wei per gas:"
                f" more needs max_fee_gwei above {self._settings.max_fee_gwei}"
            )
        _logger.warning("nonce %d: raising the fee to %d wei per gas", attempt.nonce, fees.most)
        attempt.fees = fees

    def _suggested(self) -> Fees:
        base = self._eth.get_block("latest").get("baseFeePerGas")
        tip = self._eth.gas_price if base is None else self._eth.max_priority_fee
        return suggested(base, tip, self._cap)

    def _gas(self, transaction: TxParams) -> int:
        try:
            estimate = self._eth.estimate_gas(transaction)
        except ContractLogicError as error:
            raise Transient(f"the ledger moved after the simulation: {error}") from error
        # Somebody else's call in the same block may change what storage costs.
        gas = estimate + estimate // 4
        if gas > self._settings.gas_limit:
            raise Fatal(
                ExitCode.CONFIG,
                f"a transaction needs {gas} gas, above gas_limit = {self._settings.gas_limit}",
            )
        return gas

    def _mined(self, attempt: _Attempt) -> TxReceipt | None:
        for each in attempt.hashes:
            try:
                return self._eth.get_transaction_receipt(each)
            except TransactionNotFound:
                continue
        return None

    def _known(self, tx_hash: HexBytes) -> bool:
        try:
            self._eth.get_transaction(HexStr(tx_hash.to_0x_hex()))
        except TransactionNotFound:
            return False
        return True
