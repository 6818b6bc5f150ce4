"""The commands through typer's runner: exit status, and what is printed where."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.aggregator.test_config import changed
from typer.testing import CliRunner, Result

from zkpot.errors import ExitCode
from zkpot_aggregator.cli import app


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """`run` points the log at a stream that the runner closes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result: Result, code: ExitCode, *words: str) -> None:
    assert result.exit_code == code, (result.stdout, result.stderr)
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("command", ["run", "check", "audit", "demo", "deploy", "round", ""])
def test_every_command_explains_itself(command: str) -> None:
    result = invoke(*command.split(), "--help")
    assert result.exit_code == ExitCode.OK
    assert "Usage:" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("fly",),
        ("run",),
        ("round", "show"),
        ("demo", "--devices", "1"),
        ("demo", "--batch", "many"),
        ("audit",),
        ("audit", "--ledger", "http://127.0.0.1:1"),
        ("audit", "--dir", "x", "--ledger", "y", "--contract", "z"),
    ],
)
def test_a_command_line_without_sense_is_usage(words: tuple[str, ...]) -> None:
    assert invoke(*words).exit_code == ExitCode.USAGE


# --- run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("json_output", [True, False])
def test_run_refuses_a_broken_configuration(config_file: Path, json_output: bool) -> None:
    changed(config_file, ("rounds = 2", "rounds = 0"), ("batch_size = 20", "batch_size = 0"))
    options = ("--json",) if json_output else ()
    refused(
        invoke("run", "--config", config_file, *options),
        ExitCode.CONFIG,
        "task.rounds",
        "task.batch_size",
    )


@pytest.mark.parametrize("damage", ["missing", "short", "readable by all"])
def test_run_refuses_a_key_that_is_not_right(config_file: Path, damage: str) -> None:
    key = config_file.parent / "operator.key"
    if damage == "missing":
        key.unlink()
    elif damage == "short":
        key.write_bytes(key.read_bytes()[:10])
    else:
        key.chmod(0o644)
    refused(invoke("run", "--config", config_file), ExitCode.KEY, "operator.key")


def test_run_refuses_a_state_that_is_corrupt(config_file: Path) -> None:
    state = config_file.parent / "state"
    state.mkdir(mode=0o700)
    (state / "journal.sqlite").write_bytes(b"not a database" * 1000)
    refused(invoke("run", "--config", config_file), ExitCode.STATE, "journal.sqlite")


# --- check ----------------------------------------------------------------------------------


@pytest.mark.enable_socket
@pytest.mark.broker
def test_check_finds_everything_in_order(config_file: Path) -> None:
    pytest.importorskip("zkpot_prover")
    pytest.importorskip("sklearn")
    result = invoke("check", "--config", config_file, "--json")
    findings = json.loads(result.stdout)
    assert result.exit_code == ExitCode.OK, findings
    assert [finding["what"] for finding in findings] == [
        *("config", "key", "devices", "data", "prover", "ledger", "content", "broker")
    ]
    assert all(finding.keys() == {"what", "ok", "detail", "fix"} for finding in findings)
    assert not (config_file.parent / "state" / "chain").exists()


@pytest.mark.enable_socket
@pytest.mark.broker
def test_check_names_everything_that_is_wrong(config_file: Path) -> None:
    pytest.importorskip("sklearn")
    changed(config_file, ("rounds = 2", "rounds = 900"), ("sumcheck/1", "wishing/1"))
    (config_file.parent / "operator.key").unlink()
    (config_file.parent / "password-1").unlink()
    result = invoke("check", "--config", config_file)
    assert result.exit_code == ExitCode.FAILURE
    said = [line for line in result.stdout.splitlines() if "to do: " not in line]
    marks = {line.split()[1]: line for line in said}
    failed = {what for what, line in marks.items() if line.startswith("FAIL")}
    assert failed == {"key", "devices", "data", "prover"}
    assert "password-1" in marks["devices"]
    assert "lasts 25 rounds of 20, not 900" in marks["data"]
    assert "wishing/1" in marks["prover"]
    assert result.stdout.count("to do: ") == len(failed)


def test_check_of_a_broken_configuration_goes_no_further(config_file: Path) -> None:
    changed(config_file, ("rounds = 2", "rounds = 0"))
    result = invoke("check", "--config", config_file, "--json")
    assert result.exit_code == ExitCode.FAILURE
    (finding,) = json.loads(result.stdout)
    assert finding["what"] == "config"
    assert "task.rounds" in finding["detail"]


# --- looking at what is not there -----------------------------------------------------------


@pytest.mark.parametrize("command", [("round", "show"), ("audit",)])
@pytest.mark.parametrize("task", [None, "zz", "ab"])
def test_a_directory_without_a_task_is_usage(
    tmp_path: Path, command: tuple[str, ...], task: str | None
) -> None:
    if task is not None:
        (tmp_path / "task").write_text(task)
    refused(invoke(*command, "--dir", tmp_path, "--json"), ExitCode.USAGE)


# --- demo -----------------------------------------------------------------------------------


def test_demo_names_all_that_cannot_be(tmp_path: Path) -> None:
    hostile = [
        word for each in ("bribe:1", "garbage:0", "replay:x") for word in ("--byzantine", each)
    ]
    for system in ("magic", None):
        options = [] if system is None else ["--proof-system", system]
        if system is None:
            pytest.importorskip("zkpot_prover")
        result = invoke("demo", *options, *hostile, "--json", "--dir", tmp_path / "demo")
        refused(result, ExitCode.USAGE, "bribe", "garbage:0", "replay:x", system or "")
    assert not (tmp_path / "demo").exists()


def test_demo_needs_somebody_honest(tmp_path: Path) -> None:
    pytest.importorskip("zkpot_prover")
    result = invoke("demo", "--devices", "2", "--byzantine", "garbage:2", "--dir", tmp_path / "d")
    refused(result, ExitCode.USAGE, "honest")


@pytest.mark.parametrize("name", ["sumcheck", "ezkl", None])
def test_demo_without_a_proof_system_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    options = [] if name is None else ["--proof-system", name]
    result = invoke("demo", *options, "--dir", tmp_path / "d")
    refused(result, ExitCode.DEPENDENCY, f"pip install 'zkpot[{name or 'sumcheck'}]'")
    assert not (tmp_path / "d").exists()


def test_demo_refuses_a_directory_of_other_options(tmp_path: Path) -> None:
    pytest.importorskip("zkpot_prover")
    (tmp_path / "demo.json").write_text("{}\n")
    result = invoke("demo", "--dir", tmp_path)
    refused(result, ExitCode.USAGE, "other options")
