"""Opening a state directory to look at it."""

from dataclasses import dataclass
from pathlib import Path

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import DIGEST_BYTES, TaskId
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.embedded import EmbeddedLedger


@dataclass(frozen=True)
class OpenDirectory:
    """A task's chain and content store, read only."""

    layout: Layout
    task_id: TaskId
    ledger: EmbeddedLedger
    content: DirectoryStore


def open_directory(directory: Path, task: str | None = None) -> OpenDirectory:
    """Opens what `run` or `demo` left in `directory`; raises `Fatal` if that is not there."""
    inner = directory / "aggregator" / "state"
    layout = Layout(inner if inner.exists() else directory)
    try:
        text = task or layout.task.read_text().strip()
        task_id = TaskId(bytes.fromhex(text))
    except (OSError, ValueError) as error:
        raise Fatal(ExitCode.USAGE, f"no task in {directory}: {error}") from error
    if len(task_id) != DIGEST_BYTES:
        raise Fatal(ExitCode.USAGE, f"not a task id: {text}")
    ledger = EmbeddedLedger.open_read_only(layout.chain)
    return OpenDirectory(layout, task_id, ledger, DirectoryStore(layout.content))
