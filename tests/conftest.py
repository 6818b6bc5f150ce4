"""With CI=true nothing optional is optional: a missing component fails the run at once."""

import gc
import importlib.util
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from tests.asynchronous import run_here

from zkpot.proof import child

settings.register_profile(
    "zkpot", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("zkpot")
"""The same inputs in every run, however slowly they come: a machine may be busy or emulated."""

NEEDED_IN_CI = ("ai_edge_litert", "distributed", "ezkl", "onnx", "sklearn", "zkpot_prover")


def pytest_sessionstart(session: pytest.Session) -> None:
    # Tests interrupt programs; a shell has what it runs in the background ignore that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    missing = [name for name in NEEDED_IN_CI if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.exit(f"missing, and needed with CI=true: {', '.join(missing)}", returncode=13)


@pytest.fixture(scope="module", autouse=True)
def leaks_are_found_where_they_are() -> Iterator[None]:
    """What a module left open fails its own last test, not one that happens to run later."""
    yield
    gc.collect()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What devices leave to child processes runs here and now."""
    monkeypatch.setattr(child, "run", run_here)
