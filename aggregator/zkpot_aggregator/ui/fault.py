"""`audit --fault-report`: replays what a validator has reported."""

import json
from pathlib import Path

from zkpot.cid import cid_from_text
from zkpot.errors import ExitCode, Fatal, Rejected, reason_text
from zkpot.ids import TaskId, device_text
from zkpot.wire.envelope import MAX_MESSAGE_BYTES
from zkpot_aggregator.audit.audit import Sources
from zkpot_aggregator.audit.replay import HEARSAY, Replayed, replay_fault
from zkpot_aggregator.content.base import get_object


def replay_report(report: str, task_id: TaskId, sources: Sources, *, json_output: bool) -> ExitCode:
    """Replays the report in this file, or under this CID, and prints what comes of it."""
    replayed = replay_fault(task_id, _envelope(report, sources), sources)
    _print(replayed, json_output=json_output)
    return ExitCode.AUDIT_FAILED if replayed.confirmed else ExitCode.OK


def _envelope(report: str, sources: Sources) -> bytes:
    path = Path(report)
    if path.exists():
        return path.read_bytes()[: MAX_MESSAGE_BYTES + 1]
    try:
        cid = cid_from_text(report)
    except Rejected as rejection:
        raise Fatal(
            ExitCode.USAGE, f"--fault-report: {report} is no file and no CID"
        ) from rejection
    return get_object(sources.content, cid)


def _print(replayed: Replayed, *, json_output: bool) -> None:
    report, found = replayed.report, replayed.found
    facts = {
        "confirmed": replayed.confirmed,
        "validator": device_text(replayed.validator),
        "round": report.round,
        "record": report.record.hex(),
        "check": report.check,
        "code": reason_text(report.reason),
        "device": None if report.device is None else device_text(report.device),
        "detail": report.detail,
        "found": None if found is None else str(found),
        "rests_on": HEARSAY if replayed.hearsay else None,
    }
    if json_output:
        print(json.dumps(facts, indent=2))  # noqa: T201
        return
    verdict = "confirmed" if replayed.confirmed else "not confirmed"
    now = "nothing wrong" if found is None else str(found)
    print(  # noqa: T201
        f"fault report by validator {facts['validator']}: round {report.round}, "
        f"check {report.check}, {facts['code']}: {report.detail}\n{verdict}: found {now}"
        + (f"\n{HEARSAY}" if replayed.hearsay else "")
    )
