"""How a contract came to be: its code alone does not tell what its storage began with.

Whoever creates a contract may have its storage written before its code is returned: rounds that
never were, with beacons of one's choice. So what made it has to be the pinned creation code.
"""

from collections.abc import Callable

from eth_utils.address import to_canonical_address
from hexbytes import HexBytes
from web3 import Web3
from web3.utils.address import get_create_address

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot_aggregator.ledger import abi
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.calls import Address


def check_creation(web3: Web3, contract: Address, first_block: int) -> None:
    """Raises `Fatal` (LEDGER) unless a transaction with the pinned creation code made `contract`.

    `first_block` is where that is looked for. Elsewhere it is only found if the node keeps old
    state; raises `Transient` if it does not.
    """
    creation = _creation(web3, contract, first_block)
    if creation is None:
        try:
            block = block_of_first_code(web3, contract)
        except Transient as error:
            raise Transient(
                f"block {first_block} did not make the contract, and this node cannot tell which"
                f" did: first_block has to be that of its deployment ({error})"
            ) from error
        creation = _creation(web3, contract, block)
    if creation != load_artifact().bytecode:
        raise Fatal(
            ExitCode.LEDGER,
            f"the contract at 0x{contract.hex()} was not made by `zkpot-aggregator deploy`:"
            " what its storage began with is anybody's guess",
        )


def block_of_first_code(web3: Web3, contract: Address) -> int:
    """The block in which the code appeared; `Transient` where the node keeps no old state."""
    address = abi.checksum(contract)
    return _first(web3.eth.block_number, lambda height: bool(web3.eth.get_code(address, height)))


def _creation(web3: Web3, contract: Address, block: int) -> bytes | None:
    """The creation code of the transaction in `block` that made `contract`."""
    for transaction in web3.eth.get_block(block, full_transactions=True)["transactions"]:
        assert not isinstance(transaction, bytes)
        if transaction.get("to"):
            continue
        made = to_canonical_address(get_create_address(transaction["from"], transaction["nonce"]))
        if Address(made) == contract:
            # eth-tester's word is the older one.
            return bytes(HexBytes(transaction.get("input") or transaction["data"]))
    return None


def _first(end: int, holds: Callable[[int], bool]) -> int:
    """The smallest number up to `end` for which `holds`, if it holds from there on."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
