"""Where the native prover cannot run, sumcheck is said to be missing, and how to get it."""

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

CROWDED = """
import os, resource
os.environ["RAYON_NUM_THREADS"] = "65535"
from pathlib import Path
from zkpot.datasets import DIGITS_SPEC
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ProvingFailed
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (1 << 28)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    Backend("sumcheck/1", DIGITS_SPEC.shape, 10, Path(), "").prepared()
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


@pytest.mark.prover
def test_a_machine_without_threads_to_spare_judges_nobody() -> None:
    """Else the first proof after the start would be refused for it."""
    done = run(CROWDED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("unavailable: threads")
