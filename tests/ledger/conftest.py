"""Every implementation of the ledger, for the tests that all of them pass."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import to_canonical_address
from tests.real.anvil import CHAIN_ID, Anvil, anvil, write_key

from zkpot_aggregator.deploy import deploy
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger
from zkpot_aggregator.ledger.memory import MemoryLedger, World
from zkpot_aggregator.ledger.settings import JsonRpcSettings


@dataclass(frozen=True)
class Parties:
    """Accounts on one chain, each with its own view of the same contract."""

    operator: Ledger
    validators: tuple[Ledger, ...]
    addresses: tuple[Address, ...]
    """Of the validators."""
    stranger: Ledger


KEYS = tuple(bytes([number]) * 32 for number in (1, 2, 3, 4))
OPERATOR = bytes([5]) * 32


def address_of(key: bytes) -> Address:
    return Address(to_canonical_address(Account.from_key(key).address))


def memory_parties(_: Path) -> Iterator[Parties]:
    world = World()
    *validators, stranger = (MemoryLedger(address_of(key), world) for key in KEYS)
    addresses = tuple(ledger.sender for ledger in validators)
    yield Parties(MemoryLedger(world=world), tuple(validators), addresses, stranger)


def embedded_parties(directory: Path) -> Iterator[Parties]:
    with EmbeddedLedger.open(directory) as operator:
        *validators, stranger = (operator.for_key(key) for key in KEYS)
        addresses = tuple(address_of(key) for key in KEYS[:-1])
        yield Parties(operator, tuple(validators), addresses, stranger)


def anvil_parties(directory: Path) -> Iterator[Parties]:
    """A node of their own; each account with its key file."""
    with anvil(directory) as node, ExitStack() as stack:
        contract = deploy(node.url, funded(node, OPERATOR), confirmations=1).address

        def ledger(number: int, key: bytes) -> JsonRpcLedger:
            settings = JsonRpcSettings(
                chain_id=CHAIN_ID,
                contract=contract,
                url=node.url,
                key_file=write_key(directory / f"key-{number}", funded(node, key)),
                confirmations=1,
                poll_s=0.01,
            )
            store = directory / f"calls-{number}.json"
            return stack.enter_context(JsonRpcLedger.open(settings, store))

        *validators, stranger = (ledger(number, key) for number, key in enumerate(KEYS))
        addresses = tuple(address_of(key) for key in KEYS[:-1])
        yield Parties(ledger(len(KEYS), OPERATOR), tuple(validators), addresses, stranger)


def funded(node: Anvil, key: bytes) -> bytes:
    node.fund(key)
    return key


@pytest.fixture(
    params=[
        pytest.param(memory_parties, id="memory"),
        pytest.param(embedded_parties, id="embedded", marks=pytest.mark.chain),
        pytest.param(
            anvil_parties, id="anvil", marks=[pytest.mark.chain, pytest.mark.enable_socket]
        ),
    ]
)
def parties(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Parties]:
    make: Callable[[Path], Iterator[Parties]] = request.param
    yield from make(tmp_path / "chain")
