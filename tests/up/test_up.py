"""`up`: real parts started by one command, and nothing of them left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.real.anvil import BESIDES
from tests.real.components import program

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.toml_text import toml_text
from zkpot_aggregator.ui.audit import audit_directory
from zkpot_aggregator.up.config import Broker, ChainNode, Content, UpConfig
from zkpot_aggregator.up.programs import INSTALL, find_programs, needed

LOCAL = Path(__file__).parents[2] / "deploy" / "local.toml"
WAIT_S = 900
TASK = {
    "name": "digits",
    "dataset": "digits",
    "proof_system": "sumcheck/1",
    "group_minimum": 2,
    "rounds": 1,
    "batch_size": 8,
    "gate_margin": 8,
}


def write_config(folder: Path, **parts: object) -> Path:
    path = folder / "local.toml"
    path.write_text(toml_text({"state_dir": "state", "devices": 2, **parts, "task": TASK}))
    return path


def real_path() -> str:
    """A PATH on which every installed component is found."""
    found = program("anvil", BESIDES), program("mosquitto")
    return os.pathsep.join([*(str(each.parent) for each in found), os.environ["PATH"]])


@contextmanager
def started(config: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "zkpot_aggregator", "up", "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PATH": real_path()},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_to_end(config: Path) -> str:
    """What it printed."""
    with started(config) as process:
        stdout, stderr = process.communicate(timeout=WAIT_S)
    assert process.returncode == ExitCode.OK, stderr
    return stdout


def processes_of(folder: Path) -> list[str]:
    """The command lines that name this folder, ours left out."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if any(word.startswith(f"{folder}/state") for word in words):
            found.append(" ".join(words))
    return found


def wait_for_silence(folder: Path) -> None:
    end = time.monotonic() + WAIT_S
    while left := processes_of(folder):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_the_example_names_only_real_parts() -> None:
    config = load_config(UpConfig, LOCAL)
    assert (config.broker, config.chain, config.content) == (
        Broker.MOSQUITTO,
        ChainNode.ANVIL,
        Content.IPFS,
    )
    assert (config.devices, config.validator) == (3, True)
    assert sorted(needed(config)) == sorted(INSTALL)


def test_all_that_is_missing_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zkpot_prover")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("zkpot_aggregator.up.programs.SYSTEM_FOLDERS", ())
    with pytest.raises(Fatal) as caught:
        find_programs(load_config(UpConfig, LOCAL))
    assert caught.value.exit_code is ExitCode.DEPENDENCY
    said = str(caught.value)
    assert all(f"{name}: {command}" in said for name, command in INSTALL.items())
    assert "proof system" not in said


def test_the_command_ends_with_the_status_for_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "local.toml"
    task = TASK | {"proof_system": "nobody-has-it/1"}
    embedded = {"broker": "embedded", "chain": "embedded", "content": "directory"}
    config.write_text(toml_text({"state_dir": "state", **embedded, "task": task}))
    words = [sys.executable, "-m", "zkpot_aggregator", "up", "--config", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert done.returncode == ExitCode.DEPENDENCY
    assert "the proof system nobody-has-it/1" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_validator_needs_real_parts(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="no account for one") as caught:
        load_config(UpConfig, write_config(tmp_path, validator=True, broker="embedded"))
    assert caught.value.exit_code is ExitCode.CONFIG


def test_embedded_parts_need_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("zkpot_prover")
    monkeypatch.setenv("PATH", "")
    parts = {"broker": "embedded", "chain": "embedded", "content": "directory"}
    assert find_programs(load_config(UpConfig, write_config(tmp_path, **parts))) == {}


@pytest.mark.broker
@pytest.mark.chain
@pytest.mark.prover
@pytest.mark.enable_socket
@pytest.mark.parametrize("parts", ["real", "embedded"])
def test_a_task_runs_to_its_end_and_audits(parts: str, tmp_path: Path) -> None:
    pytest.importorskip("zkpot_prover")
    chosen: dict[str, object] = {"content": "directory"}
    if parts == "embedded":
        chosen |= {"broker": "embedded", "chain": "embedded"}
    config = write_config(tmp_path, **chosen, validator=parts == "real")
    stdout = run_to_end(config)
    last = {each["part"]: each["doing"] for each in map(json.loads, stdout.splitlines())}
    assert last["aggregator"] == "the task is over"
    for part in ("mosquitto", "anvil", "validator"):
        assert (part in last) is (parts == "real")
    wait_for_silence(tmp_path)
    run_to_end(config)  # there is nothing left to do
    if parts == "embedded":
        assert audit_directory(tmp_path / "state" / "aggregator" / "state").ok


@pytest.mark.broker
@pytest.mark.chain
@pytest.mark.prover
@pytest.mark.enable_socket
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended(end: signal.Signals, tmp_path: Path) -> None:
    pytest.importorskip("zkpot_prover")
    with started(write_config(tmp_path, content="directory")) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["part"] == "device 1":
                break
        assert processes_of(tmp_path)
        process.send_signal(end)
        process.wait(WAIT_S)
        if end is signal.SIGINT:
            assert process.returncode == ExitCode.INTERRUPTED
    wait_for_silence(tmp_path)
