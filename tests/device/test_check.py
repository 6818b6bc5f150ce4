"""What `check` finds, and what `status` reads beside a running service."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.device.test_holds import set_zone
from tests.device.test_profiles import a_config

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Journal
from zkpot.keys import create_key_file
from zkpot.link import BrokerSettings, Tls
from zkpot_agent import check
from zkpot_agent.check import CHECKS, Device, check_device
from zkpot_agent.check_memory import memory_available_mb, memory_limit_mb
from zkpot_agent.config import (
    AgentConfig,
    LimitsConfig,
    ProveConfig,
    ProveMode,
    with_credentials,
)
from zkpot_agent.notes import COUNT
from zkpot_agent.profile import load_profile
from zkpot_agent.status import read_status, running_pid, uptime_s


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    key = tmp_path / "device.key"
    create_key_file(key)
    return a_config(key_file=key, state_dir=tmp_path / "state")


def fill(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# --- single checks --------------------------------------------------------------------------


def test_the_clock(config: AgentConfig, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="never set"):
        check.check_clock(Device(config, clock=lambda: 12.0))
    set_now = Device(config, root=tmp_path, clock=lambda: 1.8e9)
    assert check.check_clock(set_now).endswith("not known to be synchronised")
    fill(tmp_path, "run/systemd/timesync/synchronized", "")
    assert check.check_clock(set_now).endswith(" UTC, synchronised")


def test_memory_against_the_profile(config: AgentConfig, tmp_path: Path) -> None:
    device = Device(config, load_profile("raspberry-pi-4"), tmp_path)
    with pytest.raises(OSError, match="meminfo"):
        check.check_memory(device)
    fill(tmp_path, "proc/meminfo", "MemTotal: 900000 kB\nMemAvailable: 614400 kB\n")
    assert check.check_memory(device) == "600 MB available, at most 448 MB will be used"
    assert check.check_memory(replace(device, profile=None)) == "600 MB available"
    fill(tmp_path, "proc/meminfo", "MemAvailable: 102400 kB\n")
    with pytest.raises(OSError, match="100 MB available, the profile counts on 448 MB"):
        check.check_memory(device)


def test_the_control_groups_limit_counts(config: AgentConfig, tmp_path: Path) -> None:
    fill(tmp_path, "proc/meminfo", "MemAvailable: 8192000 kB\n")
    assert memory_limit_mb(tmp_path) is None
    fill(tmp_path, "proc/self/cgroup", "1:name=x:/old\n0::/system.slice/zkpot.service\n")
    fill(tmp_path, "sys/fs/cgroup/system.slice/zkpot.service/memory.max", "max\n")
    assert memory_limit_mb(tmp_path) is None
    fill(tmp_path, "sys/fs/cgroup/system.slice/memory.max", f"{300 << 20}\n")
    assert memory_limit_mb(tmp_path) == 300
    with pytest.raises(OSError, match="may use 300 MB, the profile counts on 448"):
        check.check_memory(Device(config, load_profile("raspberry-pi-4"), tmp_path))
    fill(tmp_path, "proc/meminfo", "MemTotal: 1 kB\n")
    with pytest.raises(OSError, match="no MemAvailable"):
        memory_available_mb(tmp_path)


def test_the_thermal_sensor(config: AgentConfig, tmp_path: Path) -> None:
    named = Device(config, load_profile("raspberry-pi-4"), sysfs=tmp_path)
    with pytest.raises(OSError, match=r"no answer from cpu-thermal; sensors here: none"):
        check.check_thermal(named)
    any_zone = Device(config, load_profile("generic-aarch64"), sysfs=tmp_path)
    assert "no sensor" in check.check_thermal(any_zone)
    set_zone(tmp_path, 0, "cpu-thermal", "51000")
    assert check.check_thermal(named) == "cpu-thermal has 51 degrees, training pauses at 76"
    assert check.check_thermal(Device(config)) == "no limits"


def test_secret_files(config: AgentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    password = tmp_path / "password"
    broker = BrokerSettings("h", 1, password_file=password, tls=Tls(tmp_path / "ca"))
    device = Device(replace(config, broker=broker))
    with pytest.raises(FileNotFoundError):
        check.check_credentials(device)
    password.write_text("x")
    password.chmod(0o604)
    with pytest.raises(OSError, match="everybody"):
        check.check_credentials(device)
    password.chmod(0o640)
    assert check.check_credentials(device) == "2 secret files, from files"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert check.check_credentials(device) == "2 secret files, from systemd"


def test_litert_and_prover_are_tried(config: AgentConfig) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("zkpot_prover")
    assert check.check_litert(Device(config)) == "exact in 96 of 96 logits"
    assert check.check_prover(Device(config)).startswith("sumcheck/1 proves in ")


def test_a_prover_without_the_memory_fails(config: AgentConfig) -> None:
    pytest.importorskip("zkpot_prover")
    with pytest.raises(OSError, match="limit"):
        check.check_prover(Device(replace(config, limits=LimitsConfig(memory_mb=1))))


@pytest.mark.parametrize("mode", [ProveMode.OFFLOAD, ProveMode.AUTO])
def test_a_device_that_may_offload_need_not_prove(config: AgentConfig, mode: ProveMode) -> None:
    prove = ProveConfig(mode, ("00" * 32,))
    config = replace(config, limits=LimitsConfig(memory_mb=1), prove=prove)
    assert check.check_prover(Device(config)).endswith("1 provers are allowed")


def test_the_broker_is_left_alone_while_the_service_runs(config: AgentConfig) -> None:
    with Journal.open(config.state_dir / "journal.sqlite"):
        assert f"pid {os.getpid()}" in check.check_broker(Device(config))


def test_every_failure_says_what_to_do(config: AgentConfig) -> None:
    for what, _, fix in CHECKS:
        assert len(fix.format(config=config)) > 10, what


@pytest.mark.broker
@pytest.mark.enable_socket
def test_all_findings_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("task = 1\n")
    (finding,) = check_device(path)
    assert (finding.what, finding.ok) == ("config", False)
    assert finding.fix
    create_key_file(tmp_path / "device.key")
    path.write_text(
        f'task = "{"00" * 32}"\noperator_key = "{"11" * 32}"\nkey_file = "device.key"\n'
        'state_dir = "state"\nprofile = "generic-x86-64"\n'
        '[broker]\nhost = "127.0.0.1"\nport = 1\n[data]\nsource = "nothing"\n'
    )
    found = {each.what: each for each in check_device(path)}
    assert list(found) == ["config", *(what for what, _, _ in CHECKS)]
    assert found["key"].ok
    assert found["disk"].ok
    assert not found["data"].ok
    assert found["data"].fix == "see [data] in the config: source and parameters"
    assert not found["broker"].ok
    assert "127.0.0.1" in found["broker"].fix


# --- credentials ----------------------------------------------------------------------------


def test_systemds_copies_take_the_place_of_secret_files(tmp_path: Path) -> None:
    broker = BrokerSettings(
        "h",
        1,
        password_file=Path("/etc/zkpot/agent.credentials/broker.password"),
        tls=Tls(Path("/ca"), Path("/x/client.pem"), Path("/x/client.key")),
    )
    config = a_config(key_file=Path("/x/device.key"), broker=broker)
    for name in ("agent_device.key", "agent_broker.password", "agent_client.key", "other_ca"):
        (tmp_path / name).write_text("secret")
    found = with_credentials(config, tmp_path)
    assert found.key_file == tmp_path / "agent_device.key"
    assert found.broker.password_file == tmp_path / "agent_broker.password"
    assert found.broker.tls == Tls(
        Path("/ca"), Path("/x/client.pem"), tmp_path / "agent_client.key"
    )


def test_without_systemd_the_files_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config = a_config()
    assert with_credentials(config) == config


# --- status ---------------------------------------------------------------------------------


@pytest.fixture
def running(config: AgentConfig) -> Iterator[AgentConfig]:
    with Journal.open(config.state_dir / "journal.sqlite") as journal:
        for number in range(1, 8):
            journal.note(COUNT, str(number), json.dumps([50 + number, 100]).encode())
        yield config


def test_status_beside_a_running_service(running: AgentConfig) -> None:
    found = read_status(replace(running, profile="raspberry-pi-4"))
    assert found["running"] is True
    assert found["pid"] == os.getpid()
    assert 0 <= found["uptime_s"] < 24 * 3600
    assert found["profile"] == "raspberry-pi-4"
    assert found["counts"] == [[n, 50 + n, 100] for n in (7, 6, 5, 4, 3)]
    assert found["phase"] == "never started"


def test_status_of_a_stopped_service(config: AgentConfig) -> None:
    with pytest.raises(Fatal, match="has the agent run") as caught:
        read_status(config)
    assert caught.value.exit_code is ExitCode.STATE
    Journal.open(config.state_dir / "journal.sqlite").close()
    found = read_status(config)
    assert (found["running"], found["pid"], found["uptime_s"]) == (False, None, None)


def test_a_process_that_is_gone(config: AgentConfig, tmp_path: Path) -> None:
    assert running_pid(config, tmp_path) is None
    assert uptime_s(1, tmp_path) is None
