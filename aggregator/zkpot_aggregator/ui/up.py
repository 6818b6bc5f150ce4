"""`up`: shows what each part is doing while everything runs."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from zkpot.config import load_config
from zkpot.errors import ExitCode
from zkpot_aggregator.up.config import UpConfig
from zkpot_aggregator.up.run import Tell, run_all


def run_up(path: Path, *, json_output: bool) -> ExitCode:
    """Returns when the task is over."""
    config = load_config(UpConfig, path)
    with _json_lines() if json_output else _board() as tell:
        run_all(config, tell)
    return ExitCode.OK


@contextlib.contextmanager
def _json_lines() -> Iterator[Tell]:
    last: dict[str, str] = {}

    def tell(part: str, doing: str) -> None:
        if last.get(part) != doing:
            last[part] = doing
            print(json.dumps({"part": part, "doing": doing}), flush=True)  # noqa: T201

    yield tell


@contextlib.contextmanager
def _board() -> Iterator[Tell]:
    """One line per part, on a terminal always the latest."""
    doings: dict[str, str] = {}
    with Live(console=Console()) as live:

        def tell(part: str, doing: str) -> None:
            doings[part] = doing
            table = Table(box=None, show_header=False)
            for row in doings.items():
                table.add_row(*row)
            live.update(table)

        yield tell
