"""Translates between the contract's words and this package's calls, views and events."""

from typing import Any

from eth_typing import ChecksumAddress, HexStr
from eth_utils.abi import event_abi_to_log_topic
from eth_utils.address import to_canonical_address, to_checksum_address
from web3 import Web3
from web3.contract import Contract
from web3.types import EventData, LogReceipt

from zkpot.ids import Beacon, Round, TaskId
from zkpot_aggregator.ledger.artifact import load_artifact
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
from zkpot_aggregator.ledger.views import (
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

_CALL_TO_FUNCTION: dict[type[Call], str] = {
    CreateTask: "create_task",
    OpenRound: "open_round",
    SealCommitments: "seal_commitments",
    DrawBeacon: "draw_beacon",
    CloseRound: "close_round",
    FailRound: "fail_round",
    Attest: "attest",
    RejectRound: "reject_round",
}

_EVENTS: tuple[type[Event], ...] = (
    TaskCreated,
    RoundOpened,
    CommitmentsSealed,
    BeaconDrawn,
    RoundClosed,
    RoundFailed,
    RoundAttested,
    RoundRejected,
)
_NAME_TO_EVENT = {event.__name__: event for event in _EVENTS}


_RETURN_BLOCK_HASH = bytes.fromhex("7f"), bytes.fromhex("4060015260216000f3")
"""PUSH32 height, BLOCKHASH, and the instructions that return a zero and what lies on the stack.

Run without an address, code is a contract's creation and what it returns the new contract. None
may begin with 0xEF (EIP-3541), as one hash in 256 does.
"""


def block_hash_seen(web3: Web3, height: int) -> bytes:
    """A block's hash as contracts see it; zeros for a block that is not one of the last 256."""
    begin, end = _RETURN_BLOCK_HASH
    code = begin + height.to_bytes(32, "big") + end
    return bytes(web3.eth.call({"data": HexStr(code.hex())}))[1:]


def contract_at(web3: Web3, address: Address) -> Contract:
    """The pinned interface at an address; nothing is asked of the chain."""
    return web3.eth.contract(checksum(address), abi=load_artifact().abi)


def checksum(address: Address) -> ChecksumAddress:
    """As web3 wants addresses."""
    return to_checksum_address(address)


def function_name(call: Call) -> str:
    """Name of the contract's function for `call`."""
    return _CALL_TO_FUNCTION[type(call)]


def call_data(contract: Contract, call: Call) -> bytes:
    """The transaction's data: a call's fields are the function's arguments in order."""
    arguments = [_to_word(value) for value in vars(call).values()]
    encoded = contract.encode_abi(function_name(call), args=arguments)
    return bytes.fromhex(encoded.removeprefix("0x"))


def task_view(task: TaskId, words: tuple[Any, Any]) -> TaskView:
    """Reads the answer of `get_task`."""
    (operator, draw_delay, quorum, last_round, head, head_round), validators = words
    return TaskView(
        task=task,
        operator=_address(operator),
        draw_delay=draw_delay,
        validators=tuple(map(_address, validators)),
        quorum=quorum,
        last_round=Round(last_round),
        head=bytes(head),
        head_round=Round(head_round),
    )


def round_view(
    task: TaskView, number: Round, words: tuple[Any, ...], block_hash: bytes
) -> RoundView:
    """Reads the answer of `get_round`; `block_hash` comes from the draw's event."""
    phase, parent, parent_round, roster_root, root, count, draw_height, *rest = words
    beacon, record, leader, correct, total, fail_reason, attested, rejected = rest
    return RoundView(
        task=task.task,
        round=number,
        phase=Phase(phase),
        parent=bytes(parent),
        parent_round=Round(parent_round),
        roster_root=bytes(roster_root),
        root=bytes(root),
        count=count,
        seal_block=draw_height - task.draw_delay if draw_height else 0,
        draw_height=draw_height,
        block_hash=block_hash,
        beacon=Beacon(bytes(beacon)),
        record=bytes(record),
        leader=bytes(leader),
        correct=correct,
        total=total,
        fail_reason=fail_reason,
        attested=_voters(task.validators, attested),
        rejected=_voters(task.validators, rejected),
    )


class EventReader:
    """Decodes the contract's logs."""

    def __init__(self, contract: Contract) -> None:
        self._topic_to_event = {
            event_abi_to_log_topic(entry): contract.events[entry["name"]]()
            for entry in contract.abi
            if entry["type"] == "event"
        }

    def read(self, log: LogReceipt) -> Event:
        """One event; the contract makes no other logs than the known ones."""
        event = self._topic_to_event[bytes(log["topics"][0])]
        data: EventData = event.process_log(log)
        values: dict[str, Any] = {
            name: _from_word(name, value) for name, value in data["args"].items()
        }
        return _NAME_TO_EVENT[data["event"]](
            block=log["blockNumber"], tx_hash=bytes(log["transactionHash"]), **values
        )


def _to_word(value: object) -> object:
    if isinstance(value, tuple):
        return [checksum(address) for address in value]
    return value


def _from_word(name: str, value: Any) -> object:
    if name in ("operator", "validator"):
        return _address(value)
    if name == "validators":
        return tuple(map(_address, value))
    if name == "phase":
        return Phase(value)
    return value


def _address(text: str) -> Address:
    return Address(to_canonical_address(text))


def _voters(validators: tuple[Address, ...], votes: int) -> tuple[Address, ...]:
    return tuple(address for place, address in enumerate(validators) if votes >> place & 1)
