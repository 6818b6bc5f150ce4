"""What ships is what the source says, and costs what the documents say."""

import hashlib
from pathlib import Path

import pytest
from bench.gas import measured

from zkpot_aggregator.ledger.artifact import load_artifact
from zkpot_aggregator.ledger.effects import CALL_TO_EVENT
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


@pytest.mark.chain
def test_gas_does_not_depend_on_the_number_of_devices(tmp_path: Path) -> None:
    tables = [costs for _, costs in measured(tmp_path, (3, 30, 300, 3000))]
    executions = [{name: cost.execution for name, cost in table.items()} for table in tables]
    assert executions == [executions[0]] * len(tables)
    # Also the shipped price list: a change here belongs into the changelog.
    assert executions[0] == {
        "OpenRound": 126_437,
        "SealCommitments": 100_031,
        "DrawBeacon": 56_059,
        "CloseRound": 130_549,
    }
