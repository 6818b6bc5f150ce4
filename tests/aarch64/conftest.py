"""The emulated Python: Debian's for arm64, with the agent's dependencies as aarch64 wheels."""

import pytest
from tests.aarch64.emulation import run_script


@pytest.fixture(scope="session")
def emulated_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that is this Python; so are the children that it starts."""
    path = str(tmp_path_factory.mktemp("aarch64") / "python")
    run_script("--python", path)
    return path
