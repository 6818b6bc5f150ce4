"""Install and uninstall on a made-up root: nothing is lost, nothing is left."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot_agent.config import AgentConfig
from zkpot_agent.install import UNIT, activate, install, uninstall
from zkpot_agent.install_manifest import MANIFEST
from zkpot_agent.profile import PROFILES, load_profile

CONFIG = "/etc/zkpot/agent.toml"
COMMAND = Path("/opt/zkpot/bin/zkpot-agent")


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Every file and folder with its mode and contents."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in root.rglob("*")
    }


def a_root(folder: Path) -> Path:
    """A device with files of others in the places install writes to."""
    for name, text in (
        ("etc/systemd/system/other.service", "[Service]\n"),
        ("etc/systemd/system/zkpot-agent.service.d/90-mine.conf", "[Service]\nNice=19\n"),
        ("etc/hostname", "pi\n"),
        ("proc/device-tree/model", "Raspberry Pi 4 Model B\0"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_uninstall_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    before = tree(root)
    report = install(root, "auto", CONFIG, COMMAND)
    assert not report.kept
    assert any("raspberry-pi-4" in line for line in report.done)
    assert tree(root) != before
    report = uninstall(root)
    assert not report.kept
    assert tree(root) == before


def test_the_commands_do_the_same(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    before = tree(root)
    for arguments in (["install", "--profile", "jetson-nano"], ["uninstall"]):
        command = [sys.executable, "-m", "zkpot_agent", *arguments, "--root", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "done    /etc/systemd/system/zkpot-agent.service" in done.stdout
    assert tree(root) == before


def test_what_is_installed(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    install(root, "raspberry-pi-zero-2-w", "/srv/zkpot/agent.toml", COMMAND)
    unit = (root / "etc/systemd/system" / UNIT).read_text()
    assert f"ExecStart={COMMAND} run --config /srv/zkpot/agent.toml\n" in unit
    drop_in = (root / "etc/systemd/system" / f"{UNIT}.d/50-profile.conf").read_text()
    assert "MemoryMax=256M" in drop_in
    assert (root / "etc/zkpot/agent.credentials").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/sysusers.d/zkpot.conf").exists()
    assert (root / "etc/tmpfiles.d/zkpot.conf").exists()
    assert 'profile = "raspberry-pi-zero-2-w"' in (root / "srv/zkpot/agent.toml").read_text()


def test_the_skeleton_lacks_only_what_the_owner_must_say(tmp_path: Path) -> None:
    install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    path = tmp_path / CONFIG.lstrip("/")
    with pytest.raises(Fatal, match="broker: host: '' is no name and no address"):
        load_config(AgentConfig, path)
    text = path.read_text().replace('host = ""', 'host = "broker.example.org"')
    path.write_text(text)
    with pytest.raises(Fatal, match=r"task: expected 64 hexadecimal digits") as caught:
        load_config(AgentConfig, path)
    assert str(caught.value).count("\n") == 1
    for key in ("task", "operator_key"):
        text = text.replace(f'{key} = ""', f'{key} = "{"ab" * 32}"')
    path.write_text(text)
    config = load_config(AgentConfig, path)
    assert config.profile == "raspberry-pi-5"
    assert config.model_dir == Path("/var/lib/zkpot-models")
    assert config.state_dir == Path("/var/lib/zkpot-agent")


def test_changed_files_are_kept_and_named(tmp_path: Path) -> None:
    install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    config, key = tmp_path / "etc/zkpot/agent.toml", tmp_path / "etc/zkpot/agent.credentials/k"
    config.write_text("mine")
    key.write_text("secret")
    report = uninstall(tmp_path)
    assert f"{CONFIG}: changed since it was installed" in report.kept[0]
    assert any(line.startswith("/etc/zkpot/agent.credentials/") for line in report.kept)
    assert config.read_text() == "mine"
    assert key.read_text() == "secret"
    assert not (tmp_path / "etc/systemd").exists()
    assert not (tmp_path / MANIFEST).exists()


def test_installing_again_replaces_only_what_nobody_changed(tmp_path: Path) -> None:
    install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    config = tmp_path / "etc/zkpot/agent.toml"
    config.write_text("mine")
    report = install(tmp_path, "raspberry-pi-4", CONFIG, COMMAND)
    drop_in = tmp_path / "etc/systemd/system" / f"{UNIT}.d/50-profile.conf"
    assert "raspberry-pi-4" in drop_in.read_text()
    assert config.read_text() == "mine"
    assert report.kept == [f"{CONFIG}: there already, and not as installed"]
    again = install(tmp_path, "raspberry-pi-4", CONFIG, COMMAND)
    assert [line for line in again.done if line.startswith("/")] == []


def test_files_of_others_are_not_taken_over(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system" / UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    before = tree(tmp_path)
    report = install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    assert len(report.kept) == 1
    uninstall(tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("place", ["/home/pi", "/root", "/run/user/1000"])
def test_what_the_sandbox_hides_is_pointed_out(tmp_path: Path, place: str) -> None:
    program, config = Path(place, "venv/bin/zkpot-agent"), f"{place}/agent.toml"
    report = install(tmp_path, "raspberry-pi-5", config, program)
    hidden = [line.split()[0] for line in report.hints if "ProtectHome" in line]
    assert hidden == [str(program), config]
    seen = install(tmp_path, "auto", CONFIG, COMMAND)
    assert not any("ProtectHome" in line for line in seen.hints)


@pytest.mark.parametrize(
    "path",
    ["agent.toml", "/etc/my config.toml", "/etc/a\nb.toml", "/a'b", "/100%", "/a$b", "/a\\b"],
)
def test_a_path_that_cannot_stand_in_a_unit_is_refused(tmp_path: Path, path: str) -> None:
    for config, command in ((path, COMMAND), (CONFIG, Path(path))):
        with pytest.raises(Fatal, match="absolute path"):
            install(tmp_path, "raspberry-pi-5", config, command)
    assert list(tmp_path.iterdir()) == []


def test_the_config_names_the_profile_that_was_installed(tmp_path: Path) -> None:
    own, root = tmp_path / "mine \U0001f680.toml", tmp_path / "root"
    root.mkdir()
    text = (PROFILES / "raspberry-pi-5.toml").read_text()
    own.write_text(text.replace('name = "raspberry-pi-5"', 'name = "my \\n[Unit]"'))
    install(root, os.path.relpath(own), CONFIG, COMMAND)
    named = tomllib.loads((root / CONFIG.lstrip("/")).read_text())["profile"]
    assert load_profile(named).name == "my \n[Unit]"
    drop_in = root / "etc/systemd/system" / f"{UNIT}.d/50-profile.conf"
    assert "\n[Unit]" not in drop_in.read_text()


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/systemd").write_text("a file, where a folder should be")
    with pytest.raises(Fatal, match=r"not all is installed: .*etc/systemd") as caught:
        install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    assert caught.value.exit_code is ExitCode.FAILURE


def test_a_folder_in_the_place_of_a_file_is_kept(tmp_path: Path) -> None:
    install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    groups = tmp_path / "etc/sysusers.d/zkpot.conf"
    groups.unlink()
    groups.mkdir()
    assert install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND).kept
    assert uninstall(tmp_path).kept[0].startswith("/etc/sysusers.d/zkpot.conf")
    assert groups.is_dir()


def test_nothing_to_uninstall(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="nothing was installed") as caught:
        uninstall(tmp_path)
    assert caught.value.exit_code is ExitCode.STATE
    with pytest.raises(Fatal, match="folder that exists"):
        install(tmp_path / "nowhere", "raspberry-pi-5", CONFIG, COMMAND)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"version": 2, "files": {}, "folders": []}),
        json.dumps({"version": 1, "files": {"../../victim": "00"}, "folders": []}),
        json.dumps({"version": 1, "files": {}, "folders": ["/etc"]}),
    ],
)
def test_a_corrupt_manifest_removes_nothing(tmp_path: Path, text: str) -> None:
    install(tmp_path, "raspberry-pi-5", CONFIG, COMMAND)
    (tmp_path / MANIFEST).write_text(text)
    before = tree(tmp_path)
    with pytest.raises(Fatal, match="corrupt"):
        uninstall(tmp_path)
    assert tree(tmp_path) == before


def test_a_dry_run_does_not_touch_the_system(tmp_path: Path) -> None:
    called: list[list[str]] = []
    assert activate(tmp_path, called.append) == []
    assert called == []
