"""The crate's own tests: dishonest provers, forgeries, refusals, fuzzing, zero knowledge."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROVER = Path(__file__).parents[2] / "prover"

pytestmark = [pytest.mark.prover, pytest.mark.timeout(1800)]


def test_crate() -> None:
    if shutil.which("cargo") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("cargo is missing: the prover cannot be tested")
        pytest.skip("cargo is missing: THE PROVER'S OWN TESTS DO NOT RUN")
    # The profile `checked` is release with overflow and debug assertions.
    done = subprocess.run(
        ["cargo", "test", "--profile", "checked", "--quiet", "--locked"],
        cwd=PROVER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    passed = sum(int(count) for count in re.findall(r"ok\. (\d+) passed", done.stdout))
    assert passed > 60, done.stdout[-6000:]
