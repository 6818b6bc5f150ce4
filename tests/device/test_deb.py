"""The Debian package: built once, then looked into and run from where it was unpacked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.install,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed"),
]


def run(*command: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    script = str(ROOT / "scripts" / "build-deb")
    arguments = ("--output", str(folder), "--python-version", version)
    return Path(run(script, *arguments, PYTHON=sys.executable).strip())


def test_what_it_says_of_itself(package: Path) -> None:
    control = run("dpkg-deb", "--field", str(package))
    assert "Package: zkpot-agent\n" in control
    assert f"Depends: python{sys.version_info.major}.{sys.version_info.minor}, systemd" in control


def test_what_is_in_it(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--raw-extract", str(package), str(tmp_path))
    link = tmp_path / "usr/bin/zkpot-agent"
    assert link.is_symlink()
    assert link.resolve() == tmp_path / "usr/lib/zkpot/bin/zkpot-agent"
    for name in ("system/zkpot-agent.service", "../sysusers.d/zkpot.conf"):
        assert (tmp_path / "usr/lib/systemd" / name).exists()
    (site,) = (tmp_path / "usr/lib/zkpot/lib").glob("python*/site-packages")
    assert (site / "zkpot_agent/firmware_profiles/raspberry-pi-4.toml").exists()
    assert not list(site.rglob("__pycache__"))
    assert not list(site.rglob("direct_url.json")), "paths of the machine that built it"
    maintainer = [tmp_path / "DEBIAN" / name for name in ("postinst", "prerm")]
    for script in maintainer:
        run("sh", "-n", str(script))
    shown = run(
        sys.executable, "-S", "-P", "-m", "zkpot_agent", "install", "--root", str(tmp_path),
        "--profile", "raspberry-pi-4", PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    assert "profile raspberry-pi-4" in shown
