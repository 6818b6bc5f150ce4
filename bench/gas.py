"""Gas of a round on the ledger, for fleets of different sizes.

The contract's shipped code runs in the embedded EVM. Each fleet is real up to the chain: that
many keys in a roster, that many signed commitments in a sealed list, and their Merkle roots.
(Objects of more than `task.MAX_DEVICES` entries cannot be encoded, but they have roots.) Shown
is a task's second round, as all later ones; its first costs more, for slots that are new.
Without its call data, where a zero byte costs 4 gas and any other 16, a call must cost the
same for every fleet, to the unit.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from web3 import Web3

from bench.machine import machine
from bench.table import Column, print_table
from zkpot.ids import DeviceId, Digest, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.record import Roster, RosterEntry, SealedList
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment
from zkpot_aggregator.ledger import abi
from zkpot_aggregator.ledger.calls import (
    CloseRound,
    CreateTask,
    DrawBeacon,
    OpenRound,
    RoundCall,
    SealCommitments,
    device_word,
)
from zkpot_aggregator.ledger.embedded import EmbeddedLedger

DEVICES = (3, 30, 300, 3000)
CALLS = (OpenRound, SealCommitments, DrawBeacon, CloseRound)
_WAIT_S = 30.0
_BATCH = 100

COLUMNS = (
    Column("devices", "devices"),
    *(Column(call.__name__, call.__name__) for call in CALLS),
    Column("round", "round"),
    Column("round without call data", "execution"),
)


@dataclass(frozen=True)
class Cost:
    """Gas of one transaction, and how much of it its call data made."""

    gas: int
    call_data: int

    @property
    def execution(self) -> int:
        """The rest."""
        return self.gas - self.call_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--devices", type=_numbers, default=DEVICES, help="default 3,30,300,3000")
    parser.add_argument("--json", action="store_true", help="a JSON list and nothing else")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    with TemporaryDirectory(prefix="zkpot-bench-") as folder:
        rows = [_row(each, costs) for each, costs in measured(Path(folder), options.devices)]
    if options.json:
        sys.stdout.write(json.dumps([row | {"machine": machine()} for row in rows], indent=1))
        sys.stdout.write("\n")
    else:
        print_table(COLUMNS, rows)
    return 0


def measured(folder: Path, fleets: Sequence[int]) -> Iterator[tuple[int, dict[str, Cost]]]:
    """For each fleet the costs of its second round, by call; the chain lies in `folder`."""
    with EmbeddedLedger.open(folder) as ledger:
        for devices in fleets:
            task = TaskId(digest("bench-gas", devices.to_bytes(8, "big")))
            ledger.submit(CreateTask(task, 1, (), 0))
            first, head = _round(ledger, task, Round(1), Digest(task), devices)
            second, _ = _round(ledger, task, Round(2), head, devices)
            assert first.keys() == second.keys()
            yield devices, second


def _round(
    ledger: EmbeddedLedger, task: TaskId, number: Round, parent: Digest, devices: int
) -> tuple[dict[str, Cost], Digest]:
    """Runs one round; returns its costs and the digest of its record."""
    keys = [KeyPair.generate() for _ in range(devices)]
    roster = Roster.of(RosterEntry(key.public_key, "") for key in keys)
    sealed = SealedList(tuple(_commitments(task, number, parent, keys)))
    record = digest("bench-record", task, number.to_bytes(8, "big"))
    leader = device_word(roster.entries[0].device)
    costs: dict[str, Cost] = {}
    for call in (
        OpenRound(task, number, parent, roster.root),
        SealCommitments(task, number, sealed.root, len(sealed.envelopes)),
        DrawBeacon(task, number),
        CloseRound(task, number, record, leader, _BATCH - 1, _BATCH),
    ):
        if isinstance(call, DrawBeacon):
            ledger.wait_for_block(ledger.round(task, number).draw_height + 1, _WAIT_S)
        gas = ledger.submit(call).gas_used
        costs[type(call).__name__] = Cost(gas, _call_data_gas(ledger, call))
    return costs, record


def _commitments(
    task: TaskId, number: Round, parent: Digest, keys: Sequence[KeyPair]
) -> Iterator[bytes]:
    """One signed commitment of each key, sorted by device."""
    by_device: dict[DeviceId, KeyPair] = {key.id: key for key in keys}
    for device, key in sorted(by_device.items()):
        yield sign(Commitment(task, number, parent, digest("bench", device), None), key)


def _call_data_gas(ledger: EmbeddedLedger, call: RoundCall) -> int:
    contract = abi.contract_at(Web3(), ledger.identity().contract)
    return sum(16 if byte else 4 for byte in abi.call_data(contract, call))


def _row(devices: int, costs: dict[str, Cost]) -> dict[str, Any]:
    return {
        "devices": devices,
        **{name: cost.gas for name, cost in costs.items()},
        "round": sum(cost.gas for cost in costs.values()),
        "execution": sum(cost.execution for cost in costs.values()),
    }


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
