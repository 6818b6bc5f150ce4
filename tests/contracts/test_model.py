"""The contract and its model in Python agree on every call, in whatever order."""

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import to_canonical_address
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.errors import ZkpotError
from zkpot.ids import Round, TaskId
from zkpot_aggregator.ledger.base import Ledger, LedgerReverted
from zkpot_aggregator.ledger.calls import (
    Address,
    Attest,
    Call,
    CloseRound,
    CreateTask,
    DrawBeacon,
    FailRound,
    OpenRound,
    RejectRound,
    SealCommitments,
)
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.memory import MemoryLedger, World
from zkpot_aggregator.ledger.views import ZERO

pytestmark = pytest.mark.chain

VALIDATORS = 3
OPERATOR, STRANGER = 0, VALIDATORS + 1

# Small sets, so that equal and conflicting values both come up often.
words = st.sampled_from([b"a" * 32, b"b" * 32, ZERO])
offsets = st.sampled_from([0, 0, 0, 0, 1, -1])
senders = st.integers(OPERATOR, STRANGER)
counts = st.integers(0, 3)


@dataclasses.dataclass(frozen=True)
class Step:
    """A call, with its round and digests still relative to the state it meets."""

    kind: str
    sender: int
    offset: int
    word: bytes
    a: int
    b: int
    right: bool


KINDS = ["open", "seal", "draw", "close", "fail", "wait"]
VOTES = ["attest", "reject"]

steps = st.builds(
    Step,
    kind=st.sampled_from(["advance"] * 24 + KINDS + VOTES * 6),
    sender=senders,
    offset=offsets,
    word=words,
    a=counts,
    b=counts,
    right=st.sampled_from([True, True, True, False]),
)


class Pair:
    """One chain and one model of it, with the same accounts."""

    def __init__(self, chain: EmbeddedLedger) -> None:
        keys = [bytes([number]) * 32 for number in range(1, STRANGER + 1)]
        self.addresses = [Address(to_canonical_address(Account.from_key(k).address)) for k in keys]
        self.chain: list[Ledger] = [chain, *(chain.for_key(key) for key in keys)]
        self.evm = chain._chain.evm
        identity = chain.identity()
        self.world = World(identity.chain_id, identity.contract, self.evm.block_hash)
        operator = chain._chain.operator
        self.model = [MemoryLedger(who, self.world) for who in (operator, *self.addresses)]
        self.numbers = itertools.count(1)

    def check(self, sender: int, call: Call) -> None:
        """Submits to both; outcome and everything visible afterwards have to agree."""
        self.world.height = self.evm.height
        outcome = _outcome(self.chain[sender], call)
        assert outcome == _outcome(self.model[sender], call), call
        assert self.world.height == self.evm.height
        if call.task not in self.world.tasks:
            return
        assert self.chain[sender].task(call.task) == self.model[sender].task(call.task)
        if not isinstance(call, CreateTask):
            assert self.chain[sender].round(call.task, call.round) == self.model[sender].round(
                call.task, call.round
            )


def _outcome(ledger: Ledger, call: Call) -> object:
    try:
        return ledger.submit(call).block
    except LedgerReverted as error:
        return error.word
    except ZkpotError as error:
        return type(error)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as folder, EmbeddedLedger.open(Path(folder)) as chain:
        yield Pair(chain)


def _call(pair: Pair, task: TaskId, step: Step) -> tuple[int, Call] | None:
    """Sender and call a step stands for, or nothing after waiting for the chain."""
    view = pair.world.tasks[task]
    last = pair.model[0].round(task, view.last_round)
    kind = step.kind
    number = Round(max(0, view.last_round + (kind == "open") + step.offset))
    if kind == "advance":
        # What a faultless operator does next.
        kind = ("open", "seal", "wait", "close", "open", "open", "open", "open")[last.phase]
        if kind == "wait" and pair.evm.height > last.draw_height:
            kind = "draw"
        number = Round(view.last_round + (kind == "open"))
        word = b"a" * 32 if step.word == ZERO else step.word
        step = dataclasses.replace(step, word=word, a=step.a + 1, sender=OPERATOR, right=True)
    elif kind in VOTES and step.right:
        number = view.head_round
    head = view.head if step.right else step.word
    record = pair.model[0].round(task, number).record if step.right else step.word
    calls: dict[str, Call] = {
        "open": OpenRound(task, number, head, step.word),
        "seal": SealCommitments(task, number, step.word, step.a),
        "draw": DrawBeacon(task, number),
        "close": CloseRound(task, number, step.word, b"leader".ljust(32), step.a, step.a + step.b),
        "fail": FailRound(task, number, step.a),
        "attest": Attest(task, number, record),
        "reject": RejectRound(task, number, record),
    }
    if kind == "wait":
        pair.chain[0].wait_for_block(last.draw_height + 1, 30)
        return None
    return step.sender, calls[kind]


@settings(max_examples=15)
@given(
    delay=st.sampled_from([1, 2, 0]),
    quorum=st.sampled_from([1, 2, 3, 0, VALIDATORS + 1]),
    script=st.lists(steps, min_size=20, max_size=40),
)
def test_contract_agrees_with_the_model(
    pair: Pair, delay: int, quorum: int, script: list[Step]
) -> None:
    task = TaskId(next(pair.numbers).to_bytes(32, "big"))
    validators = tuple(pair.addresses[:VALIDATORS]) if quorum else ()
    pair.check(OPERATOR, CreateTask(task, delay, validators, quorum))
    pair.check(STRANGER, CreateTask(task, max(1, delay), validators, min(quorum, VALIDATORS)))
    operator = OPERATOR if pair.world.tasks[task].operator != pair.addresses[-1] else STRANGER
    for step in script:
        made = _call(pair, task, step)
        if made is not None:
            sender, call = made
            pair.check(operator if sender == OPERATOR else sender, call)
    _same_events(pair.chain[0].events(task), pair.model[0].events(task))


def _same_events(made: tuple[Any, ...], modelled: tuple[Any, ...]) -> None:
    assert [dataclasses.replace(event, tx_hash=b"") for event in made] == [
        dataclasses.replace(event, tx_hash=b"") for event in modelled
    ]
