"""Without the package of the native prover, sumcheck is said to be missing, and how to get it."""

import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = """
import sys
from pathlib import Path
sys.modules["zkpot_prover"] = None  # as on a machine where it is not installed
from zkpot.datasets import DIGITS_SPEC
from zkpot.proof import registry
from zkpot.proof.system import ProvingFailed
print(*registry.installed())
try:
    registry.load(registry.SUMCHECK, DIGITS_SPEC.shape, 10, cache_dir=Path(), srs="")
except ProvingFailed as failed:
    print(failed)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_the_registry_says_so() -> None:
    done = run(BLOCKED)
    assert done.returncode == 0, done.stderr
    systems, said = done.stdout.splitlines()
    assert "sumcheck" not in systems
    assert said == "unavailable: sumcheck/1 is not installed: pip install 'zkpot[sumcheck]'"


@pytest.mark.prover
def test_the_selftest_says_so(tmp_path: Path) -> None:
    """Its child process too finds a package that cannot be imported."""
    (tmp_path / "zkpot_prover.py").write_text("raise ImportError('no such library')\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from zkpot_agent.cli import main; main()"
    )
    done = run(code, str(tmp_path), "selftest", "--shape", "digits")
    assert done.returncode == 1, done.stderr
    assert "sumcheck/1 is not installed: pip install 'zkpot[sumcheck]'" in done.stdout
