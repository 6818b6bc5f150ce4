"""The script that makes and runs the emulated Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_EMULATOR = 77
NOT_RUN = "NOT RUN: the agent on aarch64, because no emulator can be installed here"


def run_script(*arguments: str) -> str:
    """What `scripts/aarch64` prints; skips where there is no emulator, but not in CI."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "aarch64.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NO_EMULATOR and os.environ.get("CI") != "true":
        pytest.skip(NOT_RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
