"""`audit`: runs it and prints a line per round."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from zkpot.errors import ExitCode, reason_text
from zkpot.ids import TaskId, device_text
from zkpot.proof.system import ProofSystem
from zkpot.task import Task
from zkpot_aggregator.audit.audit import Sources, audit
from zkpot_aggregator.audit.report import AuditReport, RoundFinding
from zkpot_aggregator.ui.directory import open_directory
from zkpot_aggregator.ui.fault import replay_report
from zkpot_aggregator.ui.remote import Remote, remote_sources


def default_cache() -> Path:
    """Where public keys of proof systems are cached, per user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "zkpot"


def load_system(task: Task) -> ProofSystem:
    """The task's proof system, ready to verify; keys are derived here, never the operator's."""
    return task.backend(default_cache()).prepared()


def load_second(task: Task) -> ProofSystem:
    """The second verifier for the task; see `load_independent`."""
    # Imported when it is asked for: an audit of ezkl proofs needs no native prover.
    from zkpot_aggregator.audit.independent import load_independent  # noqa: PLC0415

    return load_independent(task)


def audit_directory(
    directory: Path, task: str | None = None, *, independent: bool = False
) -> AuditReport:
    """Audits what lies in `directory`; `independent`: with the verifier in plain Python."""
    with _opened(directory, task, independent=independent) as (task_id, sources):
        return audit(task_id, sources)


def run_audit(
    source: Path | Remote,
    task: str | None,
    *,
    independent: bool,
    fault_report: str | None,
    json_output: bool,
) -> ExitCode:
    """Audits a directory, or a chain and a content store elsewhere, and prints the result.

    With `fault_report`, a file or a CID, only the check that it names is run again.
    """
    with _opened(source, task, independent=independent) as (task_id, sources):
        if fault_report is not None:
            return replay_report(fault_report, task_id, sources, json_output=json_output)
        report = audit(task_id, sources)
    if json_output:
        print(json.dumps(audit_json(report), indent=2))  # noqa: T201
    else:
        print_audit(report, Console())
    return exit_code(report)


@contextlib.contextmanager
def _opened(
    source: Path | Remote, task: str | None, *, independent: bool
) -> Iterator[tuple[TaskId, Sources]]:
    load = load_second if independent else load_system
    if isinstance(source, Remote):
        with remote_sources(source, task, load) as found:
            yield found
    else:
        opened = open_directory(source, task)
        yield opened.task_id, Sources(opened.ledger, opened.content, load)


def exit_code(report: AuditReport) -> ExitCode:
    """What the command ends with."""
    if not report.ok:
        return ExitCode.AUDIT_FAILED
    return ExitCode.OK if report.complete else ExitCode.AUDIT_INCOMPLETE


def audit_json(report: AuditReport) -> dict[str, Any]:
    """The report as the documented JSON object."""
    fault = report.fault
    return {
        "ok": report.ok,
        "complete": report.complete,
        "task": report.task.hex(),
        "proof_system": report.proof_system,
        "checks": report.checks,
        "assumptions": report.assumptions,
        "failed_after_seal": report.failed_after_seal,
        "rounds": [_round_json(finding) for finding in report.rounds],
        "fault": None
        if fault is None
        else {
            "round": fault.round,
            "check": fault.check,
            "code": reason_text(fault.reason),
            "device": None if fault.device is None else device_text(fault.device),
            "detail": fault.detail,
        },
    }


def print_audit(report: AuditReport, console: Console) -> None:
    """One line per round, the assumptions, the verdict."""
    console.print(f"task {report.task.hex()}, proofs by {report.proof_system}")
    for finding in report.rounds:
        console.print(f"  round {finding.round}: {_line(finding)}", highlight=False)
    if report.failed_after_seal:
        console.print(f"  {report.failed_after_seal} rounds failed after their seal")
    for assumption in report.assumptions:
        console.print(f"  assumes {assumption}", highlight=False)
    fault = report.fault
    if fault is None:
        if report.sums_checked:
            console.print("  aggregate: checked against commitments")
        if report.complete:
            console.print(f"[green]audit ok[/green], {report.checks} checks")
        else:
            unverified = sum(not finding.verified for finding in report.rounds)
            console.print(
                f"[yellow]audit incomplete[/yellow]: no fault, {report.checks} checks, "
                f"but {unverified} rounds were not re-verified"
            )
        return
    whose = "" if fault.device is None else f", device {device_text(fault.device)}"
    console.print(
        f"[red]audit FAILED[/red]: round {fault.round}, check {fault.check}{whose}: "
        f"{reason_text(fault.reason)}: {fault.detail}",
        highlight=False,
        soft_wrap=True,
    )


def _line(finding: RoundFinding) -> str:
    if finding.leader is None:
        return ", ".join(finding.notes)
    notes = f" ({'; '.join(finding.notes)})" if finding.notes else ""
    return (
        f"{finding.standing}, led by {device_text(finding.leader)[:8]} with "
        f"{finding.count}/{finding.total}, {finding.accepted} accepted, "
        f"{finding.rejected} rejected, {finding.summed} summed, {finding.checks} checks{notes}"
    )


def _round_json(finding: RoundFinding) -> dict[str, Any]:
    facts = dataclasses.asdict(finding)
    facts["phase"] = finding.phase.name.lower()
    facts["leader"] = None if finding.leader is None else device_text(finding.leader)
    return facts
