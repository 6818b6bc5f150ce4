"""Every implementation of the ledger, for the tests that all of them pass."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import to_canonical_address

from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.memory import MemoryLedger, World


@dataclass(frozen=True)
class Parties:
    """Accounts on one chain, each with its own view of the same contract."""

    operator: Ledger
    validators: tuple[Ledger, ...]
    addresses: tuple[Address, ...]
    """Of the validators."""
    stranger: Ledger


KEYS = tuple(bytes([number]) * 32 for number in (1, 2, 3, 4))


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


@pytest.fixture(
    params=[
        pytest.param(memory_parties, id="memory"),
        pytest.param(embedded_parties, id="embedded", marks=pytest.mark.chain),
    ]
)
def parties(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Parties]:
    make: Callable[[Path], Iterator[Parties]] = request.param
    yield from make(tmp_path / "chain")
