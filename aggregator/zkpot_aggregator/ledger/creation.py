"""How a contract came to be: its code alone does not tell what its storage began with.

Whoever creates a contract may have its storage written before its code is returned: rounds that
never were, with beacons of one's choice. So what made it has to be the pinned creation code.
"""

from bisect import bisect_left
from dataclasses import dataclass

from eth_utils.address import to_canonical_address
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import BlockNotFound
from web3.utils.address import get_create_address

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot_aggregator.ledger import abi
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.calls import Address

_YOUNG_BLOCKS = 100
"""In so many of a chain's first blocks a contract is looked for where the node has no old state."""


@dataclass(frozen=True)
class Creation:
    """A contract's creation code, and the block of the transaction that carried it."""

    block: int
    code: bytes


def check_creation(web3: Web3, contract: Address, first_block: int) -> None:
    """Raises `Fatal` (LEDGER) unless a transaction with the pinned creation code made `contract`.

    Raises `Transient` like `find_creation`.
    """
    creation = find_creation(web3, contract, first_block)
    if creation is None or creation.code != load_artifact().bytecode:
        raise Fatal(
            ExitCode.LEDGER,
            f"the contract at 0x{contract.hex()} was not made by `zkpot-aggregator deploy`:"
            " what its storage began with is anybody's guess",
        )


def find_creation(web3: Web3, contract: Address, first_block: int) -> Creation | None:
    """In `first_block`, or where the code appeared; None if no transaction of its own made it.

    Raises `Transient` if it is elsewhere and the node keeps no old state.
    """
    found = _creation_in(web3, contract, first_block)
    if found is not None:
        return found
    try:
        return _creation_in(web3, contract, _block_of_first_code(web3, contract))
    except Transient as error:
        for block in range(_YOUNG_BLOCKS):
            found = _creation_in(web3, contract, block)
            if found is not None:
                return found
        raise Transient(
            f"block {first_block} did not make the contract, and this node cannot tell which"
            f" did: first_block has to be that of its deployment ({error})"
        ) from error


def _creation_in(web3: Web3, contract: Address, block: int) -> Creation | None:
    try:
        transactions = web3.eth.get_block(block, full_transactions=True)["transactions"]
    except BlockNotFound:
        return None
    for transaction in transactions:
        assert not isinstance(transaction, bytes)
        if transaction.get("to"):
            continue
        made = to_canonical_address(get_create_address(transaction["from"], transaction["nonce"]))
        if Address(made) == contract:
            # eth-tester's word is the older one.
            code = HexBytes(transaction.get("input") or transaction["data"])
            return Creation(block, bytes(code))
    return None


def _block_of_first_code(web3: Web3, contract: Address) -> int:
    address, blocks = abi.checksum(contract), range(web3.eth.block_number)
    return bisect_left(blocks, True, key=lambda height: bool(web3.eth.get_code(address, height)))
