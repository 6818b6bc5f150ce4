"""The aggregator takes the service manager's copies of secrets whose originals it cannot read."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zkpot.config import load_config
from zkpot.link import BrokerSettings, Tls
from zkpot_aggregator.config import (
    CREDENTIAL,
    AggregatorConfig,
    BrokerConfig,
    BrokerKind,
    LedgerConfig,
    LedgerKind,
    ProverAccount,
    with_credentials,
)
from zkpot_aggregator.ledger.settings import JsonRpcSettings

HIDDEN = Path("/etc/zkpot/aggregator.credentials")


@pytest.fixture
def handed_over(config_file: Path) -> Path:
    """The configuration names files out of reach; systemd's folder holds their copies."""
    folder = config_file.parent / "credentials"
    folder.mkdir()
    text = config_file.read_text()
    for name in ("operator.key", "password-0", "password-1"):
        copy = folder / f"{CREDENTIAL}_{name}"
        (config_file.parent / name).rename(copy)
        copy.chmod(0o440)
        assert f'"{name}"' in text
        text = text.replace(f'"{name}"', f'"{HIDDEN / name}"')
    config_file.write_text(text)
    return folder


def run(command: str, config_file: Path, **environment: str) -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "zkpot_aggregator", command, "--json"]
    return subprocess.Popen(
        [*program, "--config", str(config_file)],
        env={n: v for n, v in os.environ.items() if n != "CREDENTIALS_DIRECTORY"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_every_secret_file_has_a_copy(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("broker.password", "client.pem", "client.key", "ca.pem", "rpc.url", "ledger.key", "p")
    for name in (*names, "operator.key", "password-0", "password-1"):
        (tmp_path / f"{CREDENTIAL}_{name}").write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    tls = Tls(HIDDEN / "ca.pem", HIDDEN / "client.pem", HIDDEN / "client.key")
    broker = BrokerSettings("h", 1, password_file=HIDDEN / "broker.password", tls=tls)
    ledger = JsonRpcSettings(
        1, "0x" + "00" * 20, url_file=HIDDEN / "rpc.url", key_file=HIDDEN / "ledger.key"
    )
    config = load_config(AggregatorConfig, config_file)
    config = AggregatorConfig(
        HIDDEN / "operator.key",
        config.state_dir,
        config.task,
        config.devices,
        BrokerConfig(BrokerKind.EXTERNAL, broker),
        LedgerConfig(LedgerKind.JSONRPC, ledger),
        provers=(ProverAccount("11" * 32, HIDDEN / "p"), ProverAccount("22" * 32)),
    )
    found = with_credentials(config)
    copies = {name: tmp_path / f"{CREDENTIAL}_{name}" for name in names}
    assert found.key_file == tmp_path / f"{CREDENTIAL}_operator.key"
    assert found.broker.settings is not None
    assert found.broker.settings.password_file == copies["broker.password"]
    assert found.broker.settings.tls == Tls(
        copies["ca.pem"], copies["client.pem"], copies["client.key"]
    )
    assert found.ledger.settings is not None
    assert found.ledger.settings.url_file == copies["rpc.url"]
    assert found.ledger.settings.key_file == copies["ledger.key"]
    assert [device.password_file for device in found.devices] == [
        tmp_path / f"{CREDENTIAL}_password-{number}" for number in range(2)
    ]
    assert [prover.password_file for prover in found.provers] == [copies["p"], None]


def test_without_systemd_the_files_stay(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config = load_config(AggregatorConfig, config_file)
    assert with_credentials(config) == config


@pytest.mark.broker
@pytest.mark.enable_socket
def test_check_reads_the_copies(config_file: Path, handed_over: Path) -> None:
    pytest.importorskip("zkpot_prover")
    with run("check", config_file, CREDENTIALS_DIRECTORY=str(handed_over)) as process:
        findings, _ = process.communicate(timeout=120)
    assert process.returncode == 0, findings
    with run("check", config_file) as process:
        findings, _ = process.communicate(timeout=120)
    failed = {each["what"] for each in json.loads(findings) if not each["ok"]}
    assert failed == {"key", "devices"}


@pytest.mark.broker
@pytest.mark.enable_socket
def test_run_reads_the_copies(config_file: Path, handed_over: Path) -> None:
    pytest.importorskip("zkpot_prover")
    with run("run", config_file, CREDENTIALS_DIRECTORY=str(handed_over)) as process:
        assert process.stdout is not None
        events = (json.loads(line)["event"] for line in process.stdout)
        assert "ready" in events
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    assert process.returncode == 0
