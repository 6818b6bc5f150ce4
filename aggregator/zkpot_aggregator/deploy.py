"""`zkpot-aggregator deploy`: puts the pinned contract on a chain, once per account.

Order: 1 look whether this account has deployed it before, 2 deploy, 3 compare the code that
stands there with the pinned hash. A contract's address follows from account and nonce, so
an earlier deployment is found without any file, and one that was cut short is finished.
"""

import logging
from dataclasses import dataclass

from eth_account import Account as EthAccount
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.types import Nonce
from web3.utils.address import get_create_address

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot_aggregator.ledger import abi
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.creation import find_creation
from zkpot_aggregator.ledger.endpoint import Endpoint, connect, understood
from zkpot_aggregator.ledger.node_account import NOBODY, NodeAccount
from zkpot_aggregator.ledger.settings import JsonRpcSettings

_logger = logging.getLogger(__name__)

MAX_NONCES = 1000
"""Of the account's first transactions that are looked through for a deployment."""

NO_CONTRACT = "0x" + bytes(NOBODY).hex()
"""Stands in settings for a contract that is still to be deployed."""


@dataclass(frozen=True)
class Deployment:
    """Where the contract stands; `block` is that of its first appearance."""

    chain_id: int
    contract: Address
    block: int
    code_hash: bytes
    fresh: bool
    """Whether this call made it."""

    @property
    def address(self) -> str:
        """As in configuration files."""
        return abi.checksum(self.contract)


def deploy(url: str, key: bytes | None, *, confirmations: int = 0) -> Deployment:
    """Deploys, or finds the earlier deployment of this account.

    Raises `Fatal` (KEY) without a key, saying what would be sent; `Transient` if the node
    cannot be reached, and then may be called again.
    """
    web3 = connect(url, JsonRpcSettings.request_s)
    try:
        with understood():
            settings = JsonRpcSettings(
                chain_id=web3.eth.chain_id,
                contract=NO_CONTRACT,
                url=url,
                confirmations=confirmations,
                gas_limit=10_000_000,
            )
            return _deploy(web3, NodeAccount(web3, settings, key), key)
    finally:
        provider = web3.provider
        assert isinstance(provider, Endpoint)
        provider.close()


def _deploy(web3: Web3, account: NodeAccount, key: bytes | None) -> Deployment:
    # 1
    if key is not None:
        earlier = _earlier(web3, EthAccount.from_key(key).address)
        if earlier is not None:
            return _deployment(web3, earlier, _first_block(web3, earlier), fresh=False)
    # 2
    receipt = account.send(
        {"from": abi.checksum(account.address), "data": HexBytes(load_artifact().bytecode)}
    )
    made = receipt["contractAddress"]
    if receipt["status"] != 1 or made is None:
        raise Fatal(ExitCode.LEDGER, "the deployment failed on chain")
    # 3
    return _deployment(
        web3, Address(to_canonical_address(made)), receipt["blockNumber"], fresh=True
    )


def _earlier(web3: Web3, sender: str) -> Address | None:
    sent = web3.eth.get_transaction_count(Web3.to_checksum_address(sender), "latest")
    for nonce in range(min(sent, MAX_NONCES)):
        address = Address(
            to_canonical_address(get_create_address(Web3.to_checksum_address(sender), Nonce(nonce)))
        )
        if _code_hash(web3, address) == load_artifact().code_hash:
            _logger.info("found the deployment of nonce %d", nonce)
            return address
    return None


def _code_hash(web3: Web3, address: Address) -> bytes:
    return keccak(bytes(web3.eth.get_code(abi.checksum(address))))


def _deployment(web3: Web3, address: Address, block: int, *, fresh: bool) -> Deployment:
    found, pinned = _code_hash(web3, address), load_artifact().code_hash
    if found != pinned:
        raise Fatal(
            ExitCode.LEDGER,
            f"the code at 0x{address.hex()} hashes to {found.hex()}, expected {pinned.hex()}",
        )
    return Deployment(web3.eth.chain_id, address, block, found, fresh)


def _first_block(web3: Web3, address: Address) -> int:
    """The block of the deployment; 0 where the node cannot tell."""
    try:
        creation = find_creation(web3, address, 0)
    except Transient as error:
        _logger.warning("cannot tell the block of the deployment: %s", error)
        return 0
    return 0 if creation is None else creation.block
