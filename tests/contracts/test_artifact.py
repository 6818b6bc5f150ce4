"""What ships is what the source says, and costs what the documents say."""

import hashlib
import json
from pathlib import Path

import pytest

from zkpot.ids import Round, TaskId
from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.calls import (
    Call,
    CloseRound,
    CreateTask,
    DrawBeacon,
    OpenRound,
    SealCommitments,
)
from zkpot_aggregator.ledger.effects import CALL_TO_EVENT
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.views import Phase

SOURCE = Path(__file__).parents[2] / "contracts" / "ZkpotLedger.vy"


def test_artifact_was_built_from_this_source() -> None:
    assert load_artifact().source_sha256 == hashlib.sha256(SOURCE.read_bytes()).digest()


def test_phases_have_the_contract_s_numbers() -> None:
    source = SOURCE.read_text()
    for phase in Phase:
        name = "NEVER_OPENED" if phase is Phase.NONE else phase.name
        assert f"\n{name}: constant(uint256) = {phase.value}\n" in source


def test_every_function_and_event_is_known() -> None:
    names = {
        kind: {entry["name"] for entry in load_artifact().abi if entry["type"] == kind}
        for kind in ("event", "function")
    }
    assert names["event"] == {event.__name__ for event in CALL_TO_EVENT.values()}
    assert len(names["function"]) == len(CALL_TO_EVENT) + len(["get_task", "get_round"])


def _gas(ledger: EmbeddedLedger, task: TaskId, devices: int) -> dict[str, int]:
    """Of the second round with this many devices, so that no slot of the task is new."""
    ledger.submit(CreateTask(task, 1, (), 0))
    head: bytes = task
    gas: dict[str, int] = {}
    for number in (Round(1), Round(2)):
        record = hashlib.sha256(task + bytes([number])).digest()
        calls: list[Call] = [
            OpenRound(task, number, head, b"r" * 32),
            SealCommitments(task, number, b"c" * 32, devices),
            DrawBeacon(task, number),
            CloseRound(task, number, record, b"l" * 32, 30, 32),
        ]
        for call in calls:
            if isinstance(call, DrawBeacon):
                ledger.wait_for_block(ledger.round(task, number).draw_height + 1, 30)
            gas[type(call).__name__] = ledger.submit(call).gas_used
        head = record
    return gas


@pytest.mark.chain
def test_gas_does_not_depend_on_the_number_of_devices(tmp_path: Path) -> None:
    with EmbeddedLedger.open(tmp_path) as ledger:
        tables = [
            _gas(ledger, TaskId(bytes([index]) * 32), devices)
            for index, devices in enumerate((3, 30, 300, 3000), start=1)
        ]
    print(json.dumps(tables[0]))  # noqa: T201  # shown with -rP
    for table in tables[1:]:
        for name, gas in table.items():
            # A byte of call data costs 16 gas, or 4 if it is zero.
            assert abs(gas - tables[0][name]) <= 3 * 32 * 12
    # Also the shipped price list: a change here belongs into the changelog.
    assert {name: round(gas, -3) for name, gas in tables[0].items()} == {
        "OpenRound": 128_000,
        "SealCommitments": 101_000,
        "DrawBeacon": 57_000,
        "CloseRound": 133_000,
    }
