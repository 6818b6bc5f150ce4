"""A ledger in memory with the rules of the contract, for tests and as its model.

Every accepted call makes one block. As on a real chain, a call is tried against the last
block and takes effect in the next one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from eth_utils.crypto import keccak

from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Round, TaskId
from zkpot_aggregator.ledger import effects
from zkpot_aggregator.ledger.base import Identity, LedgerReverted, Receipt
from zkpot_aggregator.ledger.beacon import beacon, check_beacon
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
    RoundCall,
    SealCommitments,
    check_call,
)
from zkpot_aggregator.ledger.views import UNFINISHED, ZERO, Event, Phase, RoundView, TaskView

_MAX_DRAW_DELAY = 50400
_BLOCKHASH_WINDOW = 256
_NOBODY = Address(bytes(20))
_CONTRACT = Address(b"\x01" * 20)
_SOMEBODY = Address(b"\x02" * 20)


def _counted_hash(height: int) -> bytes:
    return keccak(b"block" + height.to_bytes(8, "big"))


@dataclass
class World:
    """What all accounts share."""

    chain_id: int = 1337
    contract: Address = _CONTRACT
    block_hash: Callable[[int], bytes] = _counted_hash
    height: int = 0
    tasks: dict[TaskId, TaskView] = field(default_factory=dict)
    rounds: dict[tuple[TaskId, Round], RoundView] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class MemoryLedger:
    """A `Ledger` for `sender`; share a `World` for several accounts on one chain."""

    def __init__(self, sender: Address = _SOMEBODY, world: World | None = None) -> None:
        self.sender = sender
        self.world = world or World()

    def identity(self) -> Identity:
        """See `Ledger.identity`."""
        return Identity(self.world.chain_id, self.world.contract, keccak(b"in memory"))

    def submit(self, call: Call) -> Receipt:
        """See `Ledger.submit`; gas is not counted."""
        check_call(call)
        if self._shown(call):
            for event in self.world.events:
                if effects.made_by(call, self.sender, event):
                    return Receipt(event.tx_hash, event.block, gas_used=0)
        word = _refusal(self.world, self.sender, call)
        if word:
            raise LedgerReverted(call, word)
        self.world.height += 1
        receipt = Receipt(keccak(b"tx" + _counted_hash(self.world.height)), self.world.height, 0)
        values = _take_effect(self.world, self.sender, call)
        event_type: Any = effects.CALL_TO_EVENT[type(call)]
        self.world.events.append(
            event_type(block=receipt.block, tx_hash=receipt.tx_hash, **vars(call) | values)
        )
        return receipt

    def task(self, task: TaskId) -> TaskView:
        """See `Ledger.task`."""
        if task not in self.world.tasks:
            raise Rejected(Reason.UNKNOWN_TASK, f"no task {task.hex()} on the ledger")
        return self.world.tasks[task]

    def round(self, task: TaskId, number: Round) -> RoundView:
        """See `Ledger.round`."""
        self.task(task)
        view = _round(self.world, task, number)
        if view.beacon != ZERO:
            check_beacon(self.identity(), view, self.world.block_hash(view.draw_height))
        return view

    def events(self, task: TaskId) -> tuple[Event, ...]:
        """See `Ledger.events`."""
        return tuple(event for event in self.world.events if event.task == task)

    def wait_for_block(self, height: int, timeout_s: float) -> None:  # noqa: ARG002  # instant
        """See `Ledger.wait_for_block`."""
        self.world.height = max(self.world.height, height)

    def _shown(self, call: Call) -> bool:
        if call.task not in self.world.tasks:
            if isinstance(call, CreateTask):
                return False
            raise Rejected(Reason.UNKNOWN_TASK, f"no task {call.task.hex()} on the ledger")
        if isinstance(call, CreateTask):
            return effects.task_shown(call, self.sender, self.world.tasks[call.task])
        return effects.round_shown(call, self.sender, _round(self.world, call.task, call.round))


def _round(world: World, task: TaskId, number: Round) -> RoundView:
    never = RoundView(
        task=task, round=number, phase=Phase.NONE, parent=ZERO, parent_round=Round(0),
        roster_root=ZERO, root=ZERO, count=0, seal_block=0, draw_height=0, block_hash=ZERO,
        beacon=Beacon(ZERO), record=ZERO, leader=ZERO, correct=0, total=0, fail_reason=0,
        attested=(), rejected=(),
    )  # fmt: skip
    return world.rounds.get((task, number), never)


def _refusal(world: World, sender: Address, call: Call) -> str:
    """The contract's revert string, or nothing; the checks stand in its order."""
    if isinstance(call, CreateTask):
        return _first(
            (call.task == ZERO, "zero"),
            (call.task in world.tasks, "exists"),
            (not 1 <= call.draw_delay <= _MAX_DRAW_DELAY, "delay"),
            (call.quorum > len(call.validators), "quorum"),
            ((call.quorum == 0) != (not call.validators), "quorum"),
            (len(set(call.validators)) != len(call.validators), "validators"),
            (_NOBODY in call.validators, "validators"),
        )
    task = world.tasks[call.task]
    view = _round(world, call.task, call.round)
    last = _round(world, call.task, task.last_round)
    not_operator = (sender != task.operator, "operator")
    match call:
        case OpenRound():
            return _first(
                not_operator,
                (call.round != task.last_round + 1, "round"),
                (last.phase in UNFINISHED, "unfinished"),
                (call.parent != task.head, "parent"),
                (call.roster_root == ZERO, "zero"),
            )
        case SealCommitments():
            return _first(
                not_operator,
                (view.phase is not Phase.OPEN, "phase"),
                (call.root == ZERO or call.count == 0, "zero"),
            )
        case DrawBeacon():
            return _first(
                (view.phase is not Phase.SEALED, "phase"),
                (world.height <= view.draw_height, "early"),
                (world.height - view.draw_height > _BLOCKHASH_WINDOW, "expired"),
            )
        case CloseRound():
            return _first(
                not_operator,
                (view.phase is not Phase.DRAWN, "phase"),
                (ZERO in (call.record, call.leader), "zero"),
                (call.correct > call.total or call.total == 0, "count"),
            )
        case FailRound():
            return _first(
                not_operator,
                (view.phase not in UNFINISHED, "phase"),
                (call.reason == 0, "zero"),
            )
        case Attest() | RejectRound():
            rejects = isinstance(call, RejectRound)
            return _first(
                (sender not in task.validators, "validator"),
                (view.phase is not Phase.CLOSED, "phase"),
                (call.record != view.record, "record"),
                (sender in view.attested + view.rejected, "voted"),
                (rejects and task.head_round != call.round, "later"),
                (rejects and last.phase in UNFINISHED, "later"),
            )


def _first(*checks: tuple[bool, str]) -> str:
    return next((word for fails, word in checks if fails), "")


def _take_effect(world: World, sender: Address, call: Call) -> dict[str, Any]:
    """Changes the world; returns what the event says beyond the call's own fields."""
    if isinstance(call, CreateTask):
        world.tasks[call.task] = TaskView(
            operator=sender, last_round=Round(0), head=call.task, head_round=Round(0), **vars(call)
        )
        return {"operator": sender}
    task = world.tasks[call.task]
    view = _round(world, call.task, call.round)
    change, values = _changes(world, sender, call, task, view)
    view = replace(view, **change)
    world.rounds[call.task, call.round] = view
    match call:
        case OpenRound():
            task = replace(task, last_round=call.round)
        case CloseRound():
            task = replace(task, head=call.record, head_round=call.round)
        case RejectRound() if view.phase is Phase.REJECTED:
            task = replace(task, head=view.parent, head_round=view.parent_round)
        case _:
            pass
    world.tasks[call.task] = task
    return values


def _changes(
    world: World, sender: Address, call: RoundCall, task: TaskView, view: RoundView
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changes in the round, and what the event adds to the call."""
    match call:
        case OpenRound():
            opened = {"parent": call.parent, "roster_root": call.roster_root}
            return {"phase": Phase.OPEN, "parent_round": task.head_round} | opened, {}
        case SealCommitments():
            draw_height = world.height + task.draw_delay
            sealed = {"root": call.root, "count": call.count, "seal_block": world.height}
            return (
                {"phase": Phase.SEALED, "draw_height": draw_height} | sealed,
                {"draw_height": draw_height},
            )
        case DrawBeacon():
            block_hash = world.block_hash(view.draw_height)
            drawn = {
                "block_hash": block_hash,
                "beacon": beacon(
                    world.chain_id, world.contract, call.task, call.round, view.root, block_hash
                ),
            }
            return {"phase": Phase.DRAWN} | drawn, {"draw_height": view.draw_height} | drawn
        case CloseRound():
            names = ("record", "leader", "correct", "total")
            return {"phase": Phase.CLOSED} | {name: getattr(call, name) for name in names}, {}
        case FailRound():
            failed = {"phase": Phase.FAILED, "fail_reason": call.reason}
            return failed, {"phase": view.phase}
        case Attest():
            votes, final = _vote(task, view.attested, sender)
            phase = Phase.FINAL if final else view.phase
            return {"attested": votes, "phase": phase}, {"validator": sender, "final": final}
        case RejectRound():
            votes, final = _vote(task, view.rejected, sender)
            phase = Phase.REJECTED if final else view.phase
            return {"rejected": votes, "phase": phase}, {"validator": sender, "final": final}


def _vote(
    task: TaskView, votes: tuple[Address, ...], sender: Address
) -> tuple[tuple[Address, ...], bool]:
    cast = tuple(who for who in task.validators if who in votes or who == sender)
    return cast, len(cast) >= task.quorum
