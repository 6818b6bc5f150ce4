"""The calls that took effect, on disk, so that a reorganisation can be mended with the same ones.

Kept are the task's creation and the calls of its last two rounds, with the block that was
seen last, and with each draw the beacon that the round went on with.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.files import replace_file
from zkpot.ids import Round, TaskId
from zkpot_aggregator.ledger.calls import (
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

_ROUNDS_KEPT = 2
_TYPES: tuple[type[Call], ...] = (
    CreateTask,
    OpenRound,
    SealCommitments,
    DrawBeacon,
    CloseRound,
    FailRound,
    Attest,
    RejectRound,
)
_NAME_TO_TYPE = {each.__name__: each for each in _TYPES}


@dataclass(frozen=True)
class Tip:
    """The block of the last call's effect: while it stands, so does all before it."""

    height: int
    block_hash: bytes


@dataclass(frozen=True)
class StoredCall:
    """A call, and for a draw the beacon that came of it."""

    call: Call
    beacon: bytes = b""


class CallStore:
    """The file `path`; in memory alone without one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tip: Tip | None = None
        self._calls: list[StoredCall] = []
        if path is not None and path.exists():
            self._read(path)

    @property
    def tip(self) -> Tip | None:
        """None before the first call."""
        return self._tip

    def remember(self, stored: StoredCall, tip: Tip) -> None:
        """Adds a call that took effect, once; returns when it is on disk."""
        if all(each.call != stored.call for each in self._calls):
            self._calls.append(stored)
        newest = max(_number(each.call) for each in self._calls)
        self._calls = [
            each
            for each in self._calls
            if isinstance(each.call, CreateTask) or _number(each.call) > newest - _ROUNDS_KEPT
        ]
        self.move_tip(tip)

    def move_tip(self, tip: Tip) -> None:
        """Notes that everything stands at `tip`; raises `Transient` if it cannot be written."""
        self._tip = tip
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self._path, self._encode())
            except OSError as error:
                raise Transient(f"cannot write {self._path}: {error}") from error

    def forget(self, call: Call) -> None:
        """Drops a call that will never take effect again; on disk with the next tip."""
        self._calls = [each for each in self._calls if each.call != call]

    def before(self, call: Call) -> tuple[Call, ...]:
        """The task's other calls, in the order in which they took effect."""
        return tuple(
            each.call for each in self._calls if each.call.task == call.task and each.call != call
        )

    def beacon(self, task: TaskId, number: Round) -> bytes | None:
        """What the round's draw gave when it was made, if it was made here."""
        for each in self._calls:
            if isinstance(each.call, DrawBeacon) and (each.call.task, each.call.round) == (
                task,
                number,
            ):
                return each.beacon
        return None

    def _encode(self) -> bytes:
        assert self._tip is not None
        return json.dumps(
            {
                "tip": [self._tip.height, self._tip.block_hash.hex()],
                "calls": [
                    {
                        "name": type(each.call).__name__,
                        "fields": {n: _plain(v) for n, v in vars(each.call).items()},
                        "beacon": each.beacon.hex(),
                    }
                    for each in self._calls
                ],
            },
            indent=1,
        ).encode()

    def _read(self, path: Path) -> None:
        try:
            raw = json.loads(path.read_bytes())
            height, block_hash = raw["tip"]
            self._tip = Tip(int(height), bytes.fromhex(block_hash))
            self._calls = [
                StoredCall(_call(each["name"], each["fields"]), bytes.fromhex(each["beacon"]))
                for each in raw["calls"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Fatal(
                ExitCode.STATE, f"{path} is corrupt ({error}): restore it from a backup"
            ) from error


def _number(call: Call) -> int:
    return 0 if isinstance(call, CreateTask) else call.round


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [item.hex() for item in value]
    return value


def _call(name: str, raw: dict[str, Any]) -> Call:
    kind = _NAME_TO_TYPE[name]
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = raw[field.name]
        if isinstance(value, str):
            value = bytes.fromhex(value)
        elif isinstance(value, list):
            value = tuple(bytes.fromhex(item) for item in value)
        values[field.name] = value
    return kind(**values)
