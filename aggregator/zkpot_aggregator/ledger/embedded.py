"""The ledger for the first five minutes: a chain in this process, kept in a directory.

The operator's process mines every block, so its beacons are in the operator's hands, and an
audit says so. Order of every transaction: mined, then in the log on disk, then reported.
One process writes at a time; readers need neither key nor lock.
"""

import fcntl
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_canonical_address
from web3.types import Nonce, TxParams, TxReceipt
from web3.utils.address import get_create_address

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot_aggregator.ledger import abi
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.chainlog import ChainLog, Entry, Head
from zkpot_aggregator.ledger.contract import ContractLedger
from zkpot_aggregator.ledger.evm import Evm
from zkpot_aggregator.ledger.keyfile import load_or_create_key

_logger = logging.getLogger(__name__)

LOG_NAME = "chain.log"
LOCK_NAME = "chain.lock"
KEY_NAME = "operator.key"

_FIRST_BLOCK = 1
"""The contract's: only the genesis is older."""
_GAS_LIMIT = 5_000_000
"""Of one transaction; a sixth of a block, and more than the contract can use."""
_FEE_WEI = 10**10
"""Above the base fee, which only falls on a chain of nearly empty blocks."""
_ALLOWANCE_WEI = 10**24
"""What another account on this chain is given for its fees."""


class Chain:
    """The chain of one directory: an `Evm` and the log from which it was replayed."""

    def __init__(self, log: ChainLog) -> None:
        self._log = log
        self.operator = Address(log.head.operator)
        self.evm = Evm(log.head.operator)
        if (self.evm.chain_id, self.evm.block_hash(0)) != (log.head.chain_id, log.head.genesis):
            raise log.broken(0, "names another chain than this program makes")
        for entry in log.entries:
            try:
                mined = self.evm.mine(entry.block)
            except ValueError as error:
                raise log.broken(entry.height, str(error)) from error
            if mined != entry.block_hash:
                raise log.broken(
                    entry.height, f"replays to {mined.hex()}, not to {entry.block_hash.hex()}"
                )
        self.contract = Address(
            to_canonical_address(get_create_address(abi.checksum(self.operator), Nonce(0)))
        )

    def mine(self, *transactions: bytes) -> None:
        """Adds a block with these transactions and returns once it is on disk."""
        block = self.evm.next_block(*transactions)
        block_hash = self.evm.mine(block)
        self._log.append(Entry(self.evm.height, block, block_hash))


class _Reader:
    """An account that asks and never sends."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @property
    def address(self) -> Address:
        # Questions cost nothing, but py-evm wants somebody who could pay.
        return self._chain.operator

    def send(self, transaction: TxParams) -> TxReceipt:
        raise Fatal(ExitCode.KEY, f"read-only: would send {len(transaction['data'])} bytes")

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        if self._chain.evm.height < height:
            raise Fatal(
                ExitCode.STATE,
                f"read-only: the chain ends at block {self._chain.evm.height}, not {height};"
                f" waiting {timeout_s} s would not change that",
            )


class _Signer(_Reader):
    """An account whose every transaction makes a block of its own."""

    def __init__(self, chain: Chain, account: LocalAccount) -> None:
        super().__init__(chain)
        self._account = account

    @property
    def address(self) -> Address:
        return Address(to_canonical_address(self._account.address))

    def send(self, transaction: TxParams) -> TxReceipt:
        eth = self._chain.evm.web3.eth
        signed = self._account.sign_transaction(
            _complete(
                transaction,
                nonce=eth.get_transaction_count(self._account.address),
                chain_id=self._chain.evm.chain_id,
            )
        )
        self._chain.mine(bytes(signed.raw_transaction))
        return eth.get_transaction_receipt(signed.hash)

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while self._chain.evm.height < height:
            if time.monotonic() >= end:
                raise Transient(f"block {height} was not mined within {timeout_s} s")
            self._chain.mine()


class EmbeddedLedger(ContractLedger):
    """A `Ledger` in a directory. Use `open` to write, `open_read_only` to audit."""

    def __init__(self, chain: Chain, account: _Reader, lock: int | None = None) -> None:
        super().__init__(chain.evm.web3, chain.contract, account, first_block=_FIRST_BLOCK)
        self._chain = chain
        self._lock = lock
        self.identity()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Opens the chain for writing; makes key, chain and contract on first use.

        Raises `Fatal`: STATE if another process writes or the log does not replay, KEY if
        the operator's key is missing, readable by others or not the chain's.
        """
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory / LOCK_NAME)
        try:
            path = directory / LOG_NAME
            key = load_or_create_key(directory / KEY_NAME, may_create=not path.exists())
            account = EthAccount.from_key(key)
            if not path.exists():
                _create_chain(path, account)
            chain = Chain(ChainLog(path, writable=True))
            return cls(chain, _Signer(chain, _operator(chain, account, path)), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open_read_only(cls, directory: Path) -> Self:
        """Replays the chain as it is on disk now; changes nothing there.

        Raises `Fatal` (STATE) if there is no chain or the log does not replay.
        """
        chain = Chain(ChainLog(directory / LOG_NAME, writable=False))
        return cls(chain, _Reader(chain))

    def for_key(self, key: bytes) -> ContractLedger:
        """The same chain seen and written by another account, say a validator's.

        The operator pays its fees. It must not outlive this ledger.
        """
        account = EthAccount.from_key(key)
        if self._web3.eth.get_balance(account.address) < _ALLOWANCE_WEI // 2:
            self._account.send(
                {"to": account.address, "value": self._web3.to_wei(_ALLOWANCE_WEI, "wei")}
            )
        signer = _Signer(self._chain, account)
        return ContractLedger(self._web3, self._address, signer, first_block=_FIRST_BLOCK)

    def close(self) -> None:
        """Lets another process write. A second call does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _create_chain(path: Path, account: LocalAccount) -> None:
    operator = to_canonical_address(account.address)
    evm = Evm(operator)
    head = Head(evm.chain_id, operator, evm.block_hash(0))
    deployment = account.sign_transaction(
        _complete({"data": load_artifact().bytecode}, nonce=0, chain_id=evm.chain_id)
    )
    block = evm.next_block(bytes(deployment.raw_transaction))
    ChainLog.create(path, head, Entry(1, block, evm.mine(block)))
    _logger.info("made a chain with the ledger in %s", path)


def _operator(chain: Chain, account: LocalAccount, path: Path) -> LocalAccount:
    if chain.operator != Address(to_canonical_address(account.address)):
        raise Fatal(
            ExitCode.KEY,
            f"{path.parent / KEY_NAME} is the key of {account.address}, but {path} belongs to"
            f" 0x{chain.operator.hex()}",
        )
    return account


def _complete(transaction: TxParams, *, nonce: int, chain_id: int) -> dict[str, Any]:
    fields = {key: value for key, value in transaction.items() if key != "from"}
    return {
        "value": 0,
        **fields,
        "nonce": nonce,
        "chainId": chain_id,
        "gas": _GAS_LIMIT,
        "maxFeePerGas": _FEE_WEI,
        "maxPriorityFeePerGas": 0,
    }


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Fatal(
            ExitCode.STATE, f"another process is writing the chain of {path.parent}"
        ) from error
    return handle
