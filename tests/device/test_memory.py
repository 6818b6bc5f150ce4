"""A whole round within a limit on the memory of the service and its children together."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.device.cage import MB, caged, control_group
from tests.device.lone_round import (
    DIGITS_DATA,
    DIGITS_TASK,
    MNIST_DATA,
    MNIST_TASK,
    PHASES,
    PLAIN,
    run_round,
    write_pool,
)

DIGITS_MB, MNIST_MB = 150, 300
TOO_LITTLE_MB = 75
PATIENCE_S = 120

pytest.importorskip("zkpot_prover")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.prover,
    pytest.mark.enable_socket,
]


def test_a_round_of_digits(tmp_path: Path) -> None:
    outcome = run_round(tmp_path, DIGITS_MB, DIGITS_TASK, DIGITS_DATA)
    sys.stdout.write(f"\n{outcome}\n")
    assert outcome.published
    assert set(outcome.phase_to_mb) >= PHASES
    assert outcome.peak_mb <= DIGITS_MB


def test_a_round_of_mnists_size(tmp_path: Path) -> None:
    write_pool(tmp_path)
    outcome = run_round(tmp_path, MNIST_MB, PLAIN + MNIST_TASK, MNIST_DATA)
    sys.stdout.write(f"\n{outcome}\n")
    assert outcome.published
    assert set(outcome.phase_to_mb) >= PHASES
    assert outcome.peak_mb <= MNIST_MB


def test_a_secure_round_of_mnists_size(tmp_path: Path) -> None:
    """Masks are added one after the other: a larger group takes longer, but no more memory."""
    write_pool(tmp_path)
    task = f'aggregation = "secure"\ngroup_minimum = 2\n{MNIST_TASK}'
    outcome = run_round(tmp_path, MNIST_MB, task, MNIST_DATA, others=1)
    sys.stdout.write(f"\n{outcome}\n")
    assert outcome.published
    assert set(outcome.phase_to_mb) >= {"prepare", "train", "commit", "prove", "deal", "mask"}
    assert outcome.peak_mb <= MNIST_MB


def test_the_same_round_fails_within_less(tmp_path: Path) -> None:
    outcome = run_round(tmp_path, TOO_LITTLE_MB, DIGITS_TASK, DIGITS_DATA)
    assert not outcome.published
    assert not set(outcome.phase_to_mb) >= PHASES


# --- the limit itself -----------------------------------------------------------------------

HOG = """
import sys, time
from pathlib import Path
block = bytearray(b'x') * 100_000_000
while not (sys.argv[1:] and Path(sys.argv[1]).exists()):
    time.sleep(0.05)
"""
"""Ends once the file that it is told of is there, if it is told of one."""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.mark.parametrize("code", [[HOG], [PARENT, HOG]], ids=["itself", "its child"])
def test_the_watcher_ends_what_holds_more(tmp_path: Path, code: list[str]) -> None:
    command = [sys.executable, "-c", *code]
    with caged(command, 60 * MB, log=tmp_path / "log", group=False) as inside:
        assert inside.popen.wait(PATIENCE_S) == -signal.SIGKILL
    assert inside.peak_mb() > 60


def test_the_watcher_leaves_alone_what_holds_less(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = [sys.executable, "-c", HOG, str(seen)]
    with caged(command, 160 * MB, log=tmp_path / "log", group=False) as inside:
        while inside.peak_mb() < 100:
            assert inside.popen.poll() is None
            time.sleep(0.05)
        seen.touch()
        assert inside.popen.wait(PATIENCE_S) == 0
    assert inside.peak_mb() <= 160


def test_the_kernel_ends_what_holds_more() -> None:
    group = control_group(60 * MB)
    if group is None:
        pytest.skip("NOT RUN: no control group can be made here, the watcher alone holds limits")
    try:
        command = ["/bin/sh", "-c", group.enter, "sh", sys.executable, "-c", HOG]
        done = subprocess.run(command, check=False, timeout=PATIENCE_S)
        assert done.returncode == -signal.SIGKILL
    finally:
        group.remove()
