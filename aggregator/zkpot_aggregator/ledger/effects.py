"""Decides whether the ledger already shows a call's effect: pure, for every ledger.

A call whose place is still empty is left to the contract; so is one that comes too early.
"""

from zkpot_aggregator.ledger.base import LedgerConflict
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
)
from zkpot_aggregator.ledger.views import (
    ZERO,
    BeaconDrawn,
    CommitmentsSealed,
    Event,
    Phase,
    RoundAttested,
    RoundClosed,
    RoundFailed,
    RoundOpened,
    RoundRejected,
    RoundView,
    TaskCreated,
    TaskView,
)

CALL_TO_EVENT: dict[type[Call], type[Event]] = {
    CreateTask: TaskCreated,
    OpenRound: RoundOpened,
    SealCommitments: CommitmentsSealed,
    DrawBeacon: BeaconDrawn,
    CloseRound: RoundClosed,
    FailRound: RoundFailed,
    Attest: RoundAttested,
    RejectRound: RoundRejected,
}


def task_shown(call: CreateTask, sender: Address, view: TaskView) -> bool:
    """True: `view` is what `call` would make. Raises `LedgerConflict` for another task."""
    made = (view.operator, view.draw_delay, view.validators, view.quorum)
    return _same(call, (sender, call.draw_delay, call.validators, call.quorum), made)


def round_shown(call: RoundCall, sender: Address, view: RoundView) -> bool:
    """False: nothing stands in the call's place. True: exactly its effect does.

    Raises `LedgerConflict` for any other effect.
    """
    ended_otherwise = view.phase is Phase.FAILED
    match call:
        case OpenRound():
            if view.phase is Phase.NONE:
                return False
            return _same(call, (call.parent, call.roster_root), (view.parent, view.roster_root))
        case SealCommitments():
            if view.root == ZERO:
                return _nothing(call, conflict=ended_otherwise)
            return _same(call, (call.root, call.count), (view.root, view.count))
        case DrawBeacon():
            if view.beacon == ZERO:
                return _nothing(call, conflict=ended_otherwise)
            return True
        case CloseRound():
            if view.record == ZERO:
                return _nothing(call, conflict=ended_otherwise)
            return _same(
                call,
                (call.record, call.leader, call.correct, call.total),
                (view.record, view.leader, view.correct, view.total),
            )
        case FailRound():
            if view.phase is not Phase.FAILED:
                return _nothing(call, conflict=view.record != ZERO)
            return _same(call, call.reason, view.fail_reason)
        case Attest():
            return _voted(call, sender, view, view.attested, view.rejected)
        case RejectRound():
            return _voted(call, sender, view, view.rejected, view.attested)


def made_by(call: Call, sender: Address, event: Event) -> bool:
    """Whether `event` is the one that `call` makes, its effect being known to stand."""
    if not isinstance(event, CALL_TO_EVENT[type(call)]) or event.task != call.task:
        return False
    if isinstance(call, CreateTask) or isinstance(event, TaskCreated):
        return True
    if isinstance(event, RoundAttested | RoundRejected) and event.validator != sender:
        return False
    return event.round == call.round


def _voted(
    call: Attest | RejectRound,
    sender: Address,
    view: RoundView,
    same: tuple[Address, ...],
    other: tuple[Address, ...],
) -> bool:
    if sender in same:
        return _same(call, call.record, view.record)
    return _nothing(call, conflict=sender in other)


def _nothing(call: RoundCall, *, conflict: bool) -> bool:
    if conflict:
        raise LedgerConflict(
            f"{type(call).__name__} of round {call.round}: the round went another way"
        )
    return False


def _same(call: Call, wanted: object, found: object) -> bool:
    if wanted != found:
        raise LedgerConflict(
            f"{type(call).__name__}: the ledger shows {found!r}, this call says {wanted!r}"
        )
    return True
