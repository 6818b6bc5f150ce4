"""Runs the demonstration: starts everything, watches, reports, audits what was made."""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Journal
from zkpot.timing import spans
from zkpot_aggregator.audit.report import AuditReport
from zkpot_aggregator.demo.files import (
    Device,
    make_devices,
    write_agent_config,
    write_aggregator_config,
)
from zkpot_aggregator.demo.options import DemoOptions, check_options, remember, who_sees_models
from zkpot_aggregator.demo.processes import Events, Process, start
from zkpot_aggregator.report import Reporter, RoundReport, busy_seconds
from zkpot_aggregator.task_data import load_task_data
from zkpot_aggregator.ui.audit import audit_directory, audit_json, print_audit
from zkpot_aggregator.ui.directory import open_directory
from zkpot_aggregator.ui.rounds import round_json, round_table

SILENCE_TIMEOUT_S = 900.0
LYING_MODULE = "zkpot_aggregator.demo.lying"

_WORK = frozenset({"train", "commit", "prove", "check-commitment", "verify", "check-opening"})
"""Steps that are training, proving or verifying; the rest of a round's time is overhead."""


def run_demo(options: DemoOptions, *, json_output: bool) -> ExitCode:
    """The `demo` command."""
    options = check_options(options)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="zkpot-demo-"))
    remember(options, directory)
    directory.chmod(0o700)
    out, err = Console(), Console(stderr=True)
    err.print(f"{options.aggregation}: {who_sees_models(options)}", highlight=False, soft_wrap=True)
    devices = make_devices(options, directory)
    began = time.monotonic()
    _run_task(options, directory, devices, err)
    elapsed = time.monotonic() - began
    reports, gas, shares = _reports(options, directory, devices)
    audit = audit_directory(directory)
    if json_output:
        print(json.dumps(_json(options, directory, reports, gas, shares, audit), indent=2))  # noqa: T201
    else:
        out.print(round_table(reports))
        for report, share in zip(reports, shares, strict=True):
            if report.record_cid is not None:
                out.print(f"round {report.round}: record {report.record_cid}", soft_wrap=True)
            out.print(f"round {report.round}: {share:.0%} neither training, proving nor verifying")
        out.print(f"everything lies in {directory}; {elapsed:.0f} s in all", soft_wrap=True)
        print_audit(audit, out)
    return ExitCode.OK if audit.ok else ExitCode.AUDIT_FAILED


def _run_task(
    options: DemoOptions, directory: Path, devices: list[Device], console: Console
) -> None:
    config = write_aggregator_config(options, directory, devices)
    with contextlib.ExitStack() as stack:
        module, command = (LYING_MODULE, []) if options.lying else ("zkpot_aggregator", ["run"])
        words = [*command, "--config", str(config), "--json"]
        log = directory / "aggregator" / "log"
        aggregator = stack.enter_context(start("aggregator", module, words, log))
        watch = stack.enter_context(_progress(console))
        events = Events(aggregator)
        agents: list[Process] = []
        check = partial(_check_alive, agents)
        while (event := events.next(SILENCE_TIMEOUT_S, check)) is not None:
            if event["event"] == "ready":
                agents += [_start_agent(options, d, event, stack) for d in devices]
            watch.show(event)
        status = aggregator.popen.wait()
        if status:
            raise Fatal(
                ExitCode(status) if status in list(ExitCode) else ExitCode.FAILURE,
                f"the aggregator ended with {status}:\n{aggregator.tail()}",
            )
        for agent in agents:
            if agent.popen.poll() is not None:
                console.print(f"[yellow]{agent.name} ended early:[/yellow]\n{agent.tail()}")


def _check_alive(agents: list[Process]) -> None:
    """Raises `Fatal` once no agent is left: only deadlines would follow."""
    if not agents or any(agent.popen.poll() is None for agent in agents):
        return
    tails = (f"{agent.name} ended with {agent.popen.poll()}:\n{agent.tail()}" for agent in agents)
    raise Fatal(ExitCode.FAILURE, "\n".join(["every device has ended early", *tails]))


def _start_agent(
    options: DemoOptions, device: Device, ready: dict[str, Any], stack: contextlib.ExitStack
) -> Process:
    arguments = ["run", "--config", str(write_agent_config(options, device, ready))]
    if device.hostile is not None:
        arguments += ["--hostile", device.hostile]
    return stack.enter_context(
        start(f"device {device.index}", "zkpot_agent", arguments, device.folder / "log")
    )


class _Watch:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def show(self, event: dict[str, Any]) -> None:
        """Shows what an event says is going on."""
        match event:
            case {"event": "progress", "what": what, "fraction": fraction}:
                self._progress.update(
                    self._task, description=f"keys: {what}", total=1.0, completed=fraction
                )
            case {"event": "ready"}:
                self._progress.update(self._task, description="devices join", total=None)
            case {"event": "state", "round": number, "state": state}:
                self._progress.update(
                    self._task, description=f"round {number}: {_STATE_TO_TEXT[state]}", total=None
                )


_STATE_TO_TEXT = {
    "opening": "opening on chain",
    "committing": "devices train and commit",
    "sealing": "sealing the commitments",
    "drawing": "waiting for the beacon",
    "revealing": "revealing the batch",
    "proving": "devices prove, proofs are verified",
    "aggregating": "collecting openings",
    "summing": "combining the models",
    "masking": "groups mask, confirm and unmask their sums",
    "merging": "adding the groups' sums up",
    "recording": "the leader checks and signs the record",
    "closing": "pinning and closing on chain",
    "attesting": "waiting for the validators",
    "failing": "failing",
    "ended": "ended",
}


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[_Watch]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Watch(progress)


def _reports(
    options: DemoOptions, directory: Path, devices: list[Device]
) -> tuple[list[RoundReport], dict[str, list[int]], list[float]]:
    opened = open_directory(directory)
    data = load_task_data("digits", {"seed": options.seed}, directory)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal.open(opened.layout.journal))
        reporter = Reporter(opened.task_id, opened.ledger, opened.content, journal, data.holdout)
        reports = reporter.rounds()
        journals = [
            stack.enter_context(Journal.open(device.folder / "state" / "journal.sqlite"))
            for device in devices
        ]
        shares = [_overhead(report.round, journal, journals) for report in reports]
        return reports, reporter.gas(), shares


def _overhead(number: int, aggregator: Journal, devices: list[Journal]) -> float:
    """The share of a round's wall clock in which nobody trained, proved or verified."""
    own = spans(aggregator, number)
    phases = [(began, ended) for what, began, ended in own if what.startswith("phase-")]
    begin, end = min(b for b, _ in phases), max(e for _, e in phases)
    work = [
        (max(began, begin), min(ended, end))
        for journal in (aggregator, *devices)
        for what, began, ended in spans(journal, number)
        if what in _WORK and ended > begin and began < end
    ]
    return 1 - busy_seconds(work) / (end - begin)


def _json(
    options: DemoOptions,
    directory: Path,
    reports: list[RoundReport],
    gas: dict[str, list[int]],
    shares: list[float],
    audit: AuditReport,
) -> dict[str, Any]:
    return {
        "task": audit.task.hex(),
        "proof_system": audit.proof_system,
        "aggregation": options.aggregation,
        "devices": options.devices,
        "directory": str(directory),
        "rounds": [
            {**round_json(report), "overhead_share": round(share, 4)}
            for report, share in zip(reports, shares, strict=True)
        ],
        "audit": audit_json(audit),
        "gas": gas,
    }
