"""One finished task with real proofs, made as a user makes it, and copies of it to spoil."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.audit.tamperer import Tamperer

from zkpot.ids import Round
from zkpot_aggregator.ledger.views import Event, RoundView
from zkpot_aggregator.ui.directory import open_directory

pytest.importorskip("zkpot_prover")

ROUNDS = (1, 2)
BATCH = 40
"""Large enough that no honest device falls below the gate, whatever is drawn."""


@dataclass(frozen=True)
class Finished:
    """A directory nobody may change, what the demonstration said, and what its chain shows."""

    directory: Path
    said: dict[str, Any]
    views: dict[int, RoundView]
    events: Sequence[Event]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Four devices, of which one lies about its count and one commits twice."""
    directory = tmp_path_factory.mktemp("task") / "demo"
    command = [sys.executable, "-m", "zkpot_aggregator", "demo", "--proof-system", "sumcheck"]
    command += ["--aggregation", "plain:fedavg", "--devices", "4", "--batch", str(BATCH)]
    command += ["--rounds", str(len(ROUNDS)), "--deadline-s", "200", "--json"]
    command += ["--byzantine", "false-count:1", "--byzantine", "equivocate:1"]
    ran = subprocess.run(
        [*command, "--dir", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))},
    )
    assert ran.returncode == 0, ran.stderr
    opened = open_directory(directory)
    views = {n: opened.ledger.round(opened.task_id, Round(n)) for n in ROUNDS}
    events = opened.ledger.events(opened.task_id)
    return Finished(directory, json.loads(ran.stdout), views, events)


@pytest.fixture
def tamperer(finished: Finished, tmp_path: Path) -> Tamperer:
    """A cheating operator with a copy of the task."""
    return Tamperer(copy_of(finished, tmp_path), finished.views, finished.events)


def copy_of(finished: Finished, folder: Path) -> Path:
    """What an audit reads, and the operator's secrets; not the devices'."""
    target = folder / "demo"
    shutil.copytree(finished.directory / "aggregator", target / "aggregator")
    return target


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy to spoil."""
    return lambda: copy_of(finished, tmp_path)
