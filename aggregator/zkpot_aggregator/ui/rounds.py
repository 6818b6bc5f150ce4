"""`round show`: the rounds of a directory as a table or JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Journal
from zkpot_aggregator.report import Reporter, RoundReport, wilson_interval
from zkpot_aggregator.ui.directory import open_directory


def show_rounds(directory: Path, number: int | None, *, json_output: bool) -> ExitCode:
    """Prints one round or all of them."""
    opened = open_directory(directory)
    with Journal.open(opened.layout.journal) as journal:
        reporter = Reporter(opened.task_id, opened.ledger, opened.content, journal, None)
        reports = [r for r in reporter.rounds() if number in (None, r.round)]
    if not reports:
        raise Fatal(ExitCode.USAGE, "no such round")
    if json_output:
        print(json.dumps([round_json(report) for report in reports], indent=2))  # noqa: T201
    else:
        Console().print(round_table(reports))
    return ExitCode.OK


def round_json(report: RoundReport) -> dict[str, Any]:
    """A round as the documented JSON object."""
    return dataclasses.asdict(report)


def round_table(reports: list[RoundReport]) -> Table:
    """A row per device and round: its proven count with its interval, or why it was rejected."""
    table = Table(title="Rounds")
    for column in ("round", "device", "verdict", "proven", "95 % interval", "model accuracy"):
        table.add_column(column)
    for report in reports:
        accuracy = (
            f"{report.accuracy_before:.1%} → {report.accuracy_after:.1%}"
            if report.accuracy_before is not None and report.accuracy_after is not None
            else report.failure or ""
        )
        for index, entry in enumerate(report.accepted):
            low, high = wilson_interval(entry["correct"], report.total)
            leads = " (leader)" if entry["device"] == report.leader else ""
            table.add_row(
                str(report.round) if index == 0 else "",
                entry["device"][:8],
                f"[green]accepted[/green]{leads}",
                f"{entry['correct']}/{report.total}",
                f"{low:.0%} to {high:.0%}",
                accuracy if index == 0 else "",
            )
        for rejection in report.rejected:
            group = f"group {rejection['group']}" if "group" in rejection else "unknown"
            who = rejection["device"][:8] or group
            table.add_row("", who, f"[red]{rejection['code']}[/red]", "", "", "")
        if not report.accepted:
            table.add_row(str(report.round), "", "", "", "", accuracy)
        table.add_section()
    return table
