"""A contract with the pinned code whose storage its creator filled in beforehand.

Code that makes a contract may write anything before it returns the contract's own code: rounds
whose beacon was chosen after their seal, votes that nobody cast, and the events to go with it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from tests.real.anvil import CHAIN_ID, Anvil, anvil
from web3.types import Nonce
from web3.utils.address import get_create_address

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import Beacon, Round, TaskId
from zkpot_aggregator.deploy import deploy
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.beacon import beacon
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.jsonrpc import open_for_audit

pytestmark = [pytest.mark.chain, pytest.mark.enable_socket]

KEY = b"k" * 32
TASK, ONE = TaskId(b"T" * 32), Round(1)
DRAWN_ON, TRIES = 1, 50
TASKS, ROUNDS = 1, 2
"""Slots of the contract's first two variables."""


def _word(value: int | bytes) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def _push(value: int | bytes) -> bytes:
    return b"\x7f" + _word(value)


def _under(slot: int, key: int | bytes) -> int:
    """Where a Vyper mapping keeps what is under `key`."""
    return int.from_bytes(keccak(_word(slot) + _word(key)), "big")


def _store(slot: int, value: int | bytes) -> bytes:
    return _push(value) + _push(slot) + b"\x55"


def _log(topics: tuple[int | bytes, ...], *data: bytes) -> bytes:
    remember = b"".join(_push(each) + _push(32 * at) + b"\x52" for at, each in enumerate(data))
    pushed = b"".join(_push(topic) for topic in reversed(topics))
    return remember + pushed + _push(32 * len(data)) + _push(0) + bytes([0xA0 + len(topics)])


def _returning(prologue: bytes, code: bytes) -> bytes:
    """Creation code that runs `prologue` and makes a contract of `code`."""
    size = _push(len(code))
    end = len(prologue) + 2 * len(size) + 3 * len(_push(0)) + 2
    copy = size + _push(end) + _push(0) + b"\x39" + size + _push(0) + b"\xf3"
    return prologue + copy + code


def _chosen_beacon(contract: Address, block_hash: bytes) -> tuple[bytes, Beacon]:
    """Of many seals the one whose draw pleases most, the block being long known."""
    roots = [keccak(_word(number)) for number in range(TRIES)]
    liked, root = min(
        (beacon(CHAIN_ID, contract, TASK, ONE, root, block_hash), root) for root in roots
    )
    return root, liked


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Anvil]:
    with anvil(tmp_path) as running:
        running.fund(KEY)
        yield running


def _create(node: Anvil, creation: bytes) -> tuple[str, int]:
    eth, account = node.web3.eth, Account.from_key(KEY)
    signed = account.sign_transaction(
        {
            "data": creation,
            "nonce": eth.get_transaction_count(account.address),
            "gas": 10_000_000,
            "gasPrice": 10**10,
            "chainId": CHAIN_ID,
        }
    )
    made = eth.wait_for_transaction_receipt(eth.send_raw_transaction(signed.raw_transaction))
    assert made["status"] == 1
    assert made["contractAddress"] is not None
    return made["contractAddress"], made["blockNumber"]


def _forged(node: Anvil) -> tuple[str, int]:
    """A contract in which the first round is drawn with a beacon that somebody liked."""
    account = Account.from_key(KEY)
    nonce = node.web3.eth.get_transaction_count(account.address) + 1
    contract = Address(bytes.fromhex(get_create_address(account.address, Nonce(nonce))[2:]))
    code = bytes(node.web3.eth.get_code(deploy(node.url, KEY).address))  # type: ignore[arg-type]
    block_hash = bytes(node.web3.eth.get_block(DRAWN_ON)["hash"])
    root, liked = _chosen_beacon(contract, block_hash)
    task, drawn = _under(TASKS, TASK), _under(_under(ROUNDS, TASK), 1)
    event = keccak(b"BeaconDrawn(bytes32,uint256,uint256,bytes32,bytes32)")
    operator = bytes.fromhex(account.address[2:])
    stored: dict[int, int | bytes] = {
        task: operator, task + 1: 1, task + 3: 1, task + 4: TASK,
        drawn: 3, drawn + 1: TASK, drawn + 3: TASK, drawn + 4: root, drawn + 5: 1,
        drawn + 6: DRAWN_ON, drawn + 7: liked,
    }  # fmt: skip
    prologue = b"".join(_store(slot, value) for slot, value in stored.items())
    prologue += _log((event, TASK, 1), _word(DRAWN_ON), block_hash, liked)
    address, block = _create(node, _returning(prologue, code))
    assert bytes.fromhex(address[2:]) == contract
    return address, block


@pytest.mark.parametrize("told", [True, False], ids=["its block", "no block"])
def test_a_storage_that_was_there_before_the_code_is_refused(told: bool, node: Anvil) -> None:
    address, block = _forged(node)
    with open_for_audit(node.url, address, first_block=block if told else 0) as ledger:
        with pytest.raises(Fatal, match="was not made by") as refused:
            ledger.identity()
        assert refused.value.exit_code is ExitCode.LEDGER


def test_what_was_forged_looks_like_a_round(node: Anvil) -> None:
    """Only how the contract was made tells: its code and the beacon are as they should be."""
    address, _ = _forged(node)
    with open_for_audit(node.url, address) as ledger:
        ledger._creation_checked = True
        assert ledger.identity().code_hash == load_artifact().code_hash
        view = ledger.round(TASK, ONE)
    contract = Address(bytes.fromhex(address[2:]))
    assert (view.root, view.beacon) == _chosen_beacon(contract, view.block_hash)


def test_a_node_without_old_state_still_shows_an_honest_contract(tmp_path: Path) -> None:
    """As after a second start of `up`, whose deployment nobody has written down."""
    options = ("--state", str(tmp_path / "state"), "--state-interval", "1")
    with anvil(tmp_path, *options) as node:
        node.fund(KEY)
        made = deploy(node.url, KEY)
        node.mine(50)
        node.stop()
        node.start()
        again = deploy(node.url, KEY)
        assert (again.block, again.contract, again.fresh) == (made.block, made.contract, False)
        with open_for_audit(node.url, made.address) as ledger:
            assert ledger.identity().contract == made.contract
