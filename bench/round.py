"""Overhead of a round with mosquitto, anvil and an IPFS daemon, each a process of its own.

A task of small models runs with as many agents, everything on this machine. What a round takes
is split by the roles' own notes:

- chain: opening, sealing, drawing and closing, which wait for blocks and confirmations;
- work: while any process trains, proves or verifies, with the start of its child process;
- overhead: the rest of it, the pin of the record and in secure aggregation the masking included;
- all overhead: the same with the starts of three children, one after the other, as each device
  makes them before the record is proposed.

The first round, which fills caches, is left out.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.real.ipfs import Ipfs
from tests.real.task_rig import BLOCK_S, PLAIN, Rig, run_task, task_rig

from bench.child_start import child_start_seconds
from bench.machine import machine
from bench.table import Column, print_table
from zkpot.aggregation import SECURE
from zkpot.journal import Journal
from zkpot.timing import spans
from zkpot_aggregator.report import busy_seconds

WORK = frozenset({"train", "commit", "prove", "check-commitment", "verify", "check-opening", "sum"})
CHAIN_PHASES = frozenset({"phase-opening", "phase-sealing", "phase-drawing", "phase-closing"})
PIN = "pin"
MASKING = frozenset({"deal", "mask", "unmask"})
CHILDREN = 3
"""Train, commit, prove."""

Span = tuple[str, float, float]
"""What, began, ended: seconds since the epoch."""

COLUMNS = (
    Column("round", "round"),
    Column("in all", "total_s", "s"),
    Column("chain", "chain_s", "s"),
    Column("work", "work_s", "s"),
    Column("overhead", "overhead_s", "s"),
    Column("of it the pin", "pin_s", "s"),
    Column("of it masking", "masking_s", "s"),
    Column("all overhead", "all_overhead_s", "s"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--aggregation", choices=[SECURE, PLAIN], default=SECURE)
    parser.add_argument("--repeats", type=int, default=5, help="rounds after the first")
    parser.add_argument("--json", action="store_true", help="a JSON object and nothing else")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    with TemporaryDirectory(prefix="zkpot-bench-") as folder:
        try:
            result = measured(Path(folder), options.devices, options.repeats, options.aggregation)
        except (pytest.skip.Exception, pytest.fail.Exception) as missing:
            sys.stderr.write(f"{missing}\n")
            return 1
    if options.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return 0
    print_table(COLUMNS, result["rounds"])
    sys.stdout.write(
        f"{options.aggregation}, {options.devices} devices, a child starts in "
        f"{result['child_start_s']:.2f} s, a block every {BLOCK_S:.0f} s, {result['ipfs']}, "
        f"load {result['load']:.1f}, {result['machine']}\n"
    )
    return 0


def measured(folder: Path, devices: int, repeats: int, aggregation: str) -> dict[str, Any]:
    """A row for every round, their best and their median."""
    with task_rig(folder, devices, repeats + 1, aggregation=aggregation) as rig:
        run_task(rig)
        load = os.getloadavg()[0]
        start = asyncio.run(child_start_seconds())
        rows = [
            {"round": number, **split(*round_spans(rig, number), start)}
            for number in range(2, repeats + 2)
        ]
        ipfs = _daemon(rig.ipfs)
    names = [name for name in rows[0] if name.endswith("_s")]
    summary = [
        {"round": title} | {name: choose([row[name] for row in rows]) for name in names}
        for title, choose in (("best", min), ("median", statistics.median))
    ]
    return {
        "machine": machine(),
        "load": load,
        "ipfs": ipfs,
        "aggregation": aggregation,
        "devices": devices,
        "block_s": BLOCK_S,
        "child_start_s": start,
        "rounds": rows + summary,
    }


def round_spans(rig: Rig, number: int) -> tuple[list[Span], list[Span]]:
    """What the aggregator noted of a round, and what its devices noted."""
    with contextlib.ExitStack() as stack:
        own, *others = (
            spans(stack.enter_context(Journal.open(folder / "state" / "journal.sqlite")), number)
            for folder in (rig.aggregator, *(rig.device(index) for index in range(rig.devices)))
        )
    return own, [span for each in others for span in each]


def split(own: list[Span], others: list[Span], child_start_s: float) -> dict[str, float]:
    """Seconds of one round by what they went to; see the module."""
    phases = [(began, ended) for what, began, ended in own if what.startswith("phase-")]
    begin, end = min(began for began, _ in phases), max(ended for _, ended in phases)

    def busy(names: frozenset[str], noted: list[Span]) -> list[tuple[float, float]]:
        return [
            (max(began, begin), min(ended, end))
            for what, began, ended in noted
            if what in names and ended > begin and began < end
        ]

    pin = busy_seconds(busy(frozenset({PIN}), own))
    chain, work = busy(CHAIN_PHASES, own), busy(WORK, own + others)
    overhead = end - begin - busy_seconds(chain + work) + pin
    return {
        "total_s": end - begin,
        "chain_s": busy_seconds(chain) - pin,
        "work_s": busy_seconds(work),
        "pin_s": pin,
        "masking_s": busy_seconds(busy(MASKING, own + others)),
        "overhead_s": overhead,
        "all_overhead_s": overhead + CHILDREN * child_start_s,
    }


def _daemon(ipfs: Ipfs) -> str:
    with ipfs.store() as store:
        return f"IPFS {store.version()}"
