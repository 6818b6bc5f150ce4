"""The distributions as a user installs them: wheel and editable, into a fresh environment."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK_DEMO = ("demo", "--devices", "2", "--rounds", "1", "--batch", "8", "--json")

pytestmark = pytest.mark.install


class Environment:
    """A virtual environment with the pinned dependencies and nothing of this project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run(sys.executable, "-m", "venv", str(folder))
        self.pip("install", "--require-hashes", "-r", str(ROOT / "requirements" / "locked.txt"))

    def pip(self, *arguments: str) -> None:
        """Runs pip in it."""
        quiet = ("--quiet", "--disable-pip-version-check")
        self._run(str(self.folder / "bin" / "python"), "-m", "pip", *arguments, *quiet)

    def quick_demo(self, directory: Path) -> dict[str, object]:
        """The demonstration's smallest form, as an installed command, from another folder."""
        program = str(self.folder / "bin" / "zkpot-aggregator")
        out = self._run(program, *QUICK_DEMO, "--dir", str(directory), cwd=directory.parent)
        found: dict[str, object] = json.loads(out)
        return found

    def _run(self, *command: str, cwd: Path = ROOT) -> str:
        # Coverage of the checkout would be imported into this environment, which has none.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        environment["PATH"] = f"{self.folder / 'bin'}:{environment['PATH']}"
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=cwd, env=environment
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    fresh = Environment(tmp_path_factory.mktemp("environment") / "venv")
    fresh.pip("install", "--no-deps", "--no-build-isolation", str(ROOT / "prover"))
    return fresh


def test_the_wheel_holds_the_three_packages_and_their_data(distributions: Path) -> None:
    (wheel,) = distributions.glob("zkpot-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if not name.startswith("zkpot-")} == {
        "zkpot",
        "zkpot_agent",
        "zkpot_aggregator",
    }
    for data in (
        "zkpot/journal/schema_v1.sql",
        "zkpot/py.typed",
        "zkpot_aggregator/ledger/ZkpotLedger.json",
    ):
        assert data in names


def test_the_source_distribution_can_be_built_from(distributions: Path) -> None:
    (sdist,) = distributions.glob("zkpot-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "protocol/zkpot/__init__.py"} <= names


def test_the_wheel_runs_the_demonstration(
    distributions: Path, environment: Environment, tmp_path: Path
) -> None:
    (wheel,) = distributions.glob("zkpot-*.whl")
    environment.pip("install", "--no-deps", str(wheel))
    found = environment.quick_demo(tmp_path / "demo")
    assert found["audit"]["ok"] is True  # type: ignore[index]
    environment.pip("uninstall", "-y", "zkpot")


def test_the_editable_install_runs_the_demonstration(
    environment: Environment, tmp_path: Path
) -> None:
    environment.pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    found = environment.quick_demo(tmp_path / "demo")
    assert found["audit"]["ok"] is True  # type: ignore[index]
    environment.pip("uninstall", "-y", "zkpot")
