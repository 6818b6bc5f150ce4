"""An EVM in this process whose blocks are a function of what is written in a log.

py-evm through eth-tester, with nothing left to the clock or to chance: the genesis is fixed
but for the one funded account, and every block is mined from a `Block` that names its time,
its randomness and its signed transactions. Mining the same blocks gives the same hashes.
"""

import os
import time
from dataclasses import dataclass
from typing import Any

from eth.exceptions import PyEVMError
from eth.exceptions import TransactionNotFound as EvmTransactionNotFound
from eth_keys.exceptions import BadSignature
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.backends.pyevm.main import GENESIS_GAS_LIMIT
from eth_tester.backends.pyevm.serializers import (
    serialize_transaction,
    serialize_transaction_receipt,
)
from eth_tester.exceptions import TransactionFailed, TransactionNotFound
from eth_tester.exceptions import ValidationError as TesterValidationError
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]
from web3 import Web3
from web3.exceptions import ContractLogicError
from web3.providers.eth_tester import EthereumTesterProvider
from web3.types import RPCEndpoint, RPCResponse

GENESIS_TIME_S = 1_700_000_000
"""Unix time of the genesis block; only has to lie before every real block."""

OPERATOR_WEI = 10**27
"""The operator's money: enough for ever, worth nothing."""


@dataclass(frozen=True)
class Block:
    """Everything that decides a block, given its parent."""

    time_s: int
    """Unix time, later than the parent's."""
    mix_hash: bytes
    """32 random bytes, so that nobody but the miner can tell the block's hash beforehand."""
    transactions: tuple[bytes, ...]
    """Signed, as they travel on a network."""


_INVALID = (
    PyEVMError,
    ValidationError,
    TesterValidationError,
    BadSignature,
    RLPException,
    IndexError,
)
"""What the layers below say of a block that cannot be mined."""


class _Backend(PyEVMBackend):  # type: ignore[misc]  # eth-tester has no types
    """Finds transactions by the chain's index; eth-tester reads all blocks from the last."""

    def get_transaction_by_hash(self, transaction_hash: bytes) -> Any:
        block, index = self._find(transaction_hash)
        return serialize_transaction(block, block.transactions[index], index, is_pending=False)

    def get_transaction_receipt(self, transaction_hash: bytes) -> Any:
        block, index = self._find(transaction_hash)
        receipts = block.get_receipts(self.chain.chaindb)
        return serialize_transaction_receipt(
            block, receipts, block.transactions[index], index, False, self.chain.get_vm()
        )

    def _find(self, transaction_hash: bytes) -> tuple[Any, int]:
        try:
            number, index = self.chain.chaindb.get_transaction_index(transaction_hash)
        except EvmTransactionNotFound as error:
            raise TransactionNotFound(transaction_hash.hex()) from error
        return self.chain.get_canonical_block_by_number(number), index


class _Provider(EthereumTesterProvider):
    """Says of a revert what a node would make web3 say."""

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return super().make_request(method, params)
        except TransactionFailed as error:
            raise ContractLogicError(str(error)) from error


class Evm:
    """The chain from its genesis; blocks are only added."""

    def __init__(self, operator: bytes) -> None:
        state = {
            operator: {"balance": OPERATOR_WEI, "storage": {}, "code": b"", "nonce": 0},
        }
        genesis = PyEVMBackend.generate_genesis_params(
            overrides={"timestamp": GENESIS_TIME_S, "gas_limit": GENESIS_GAS_LIMIT}
        )
        self._backend = _Backend(genesis_parameters=genesis, genesis_state=state)
        tester = EthereumTester(self._backend, auto_mine_transactions=False)
        self.web3 = Web3(_Provider(tester))

    @property
    def height(self) -> int:
        """Number of the last block."""
        return int(self._backend.chain.header.block_number) - 1

    @property
    def chain_id(self) -> int:
        """As in every signed transaction."""
        return int(self._backend.chain.chain_id)

    def block_hash(self, height: int) -> bytes:
        """From the chain's own header."""
        return bytes(self._backend.chain.get_canonical_block_header_by_number(height).hash)

    def next_block(self, *transactions: bytes) -> Block:
        """A block for now, not mined yet."""
        parent = self._backend.chain.get_canonical_block_header_by_number(self.height)
        return Block(max(int(time.time()), parent.timestamp + 1), os.urandom(32), transactions)

    def mine(self, block: Block) -> bytes:
        """Adds the block and returns its hash; raises ValueError if it is not valid."""
        chain = self._backend.chain
        try:
            # The transactions see the block's own time, not the time of their execution.
            chain.header = chain.header.copy(timestamp=block.time_s, mix_hash=block.mix_hash)
            for raw in block.transactions:
                self._backend.send_raw_transaction(raw)
            mined: Any = chain.mine_block(
                coinbase=bytes(20), mix_hash=block.mix_hash, blob_gas_used=0
            )
        except _INVALID as error:
            raise ValueError(f"block {self.height + 1}: {error}") from error
        return bytes(mined.hash)
