import json
import platform
from datetime import time
from pathlib import Path

import pytest

from zkpot.config import parse_config
from zkpot.errors import ExitCode, Fatal
from zkpot.link import BrokerSettings
from zkpot_agent.config import AgentConfig, DataConfig, LimitsConfig, ProveMode
from zkpot_agent.profile import (
    AGENT_MEMORY_MB,
    PROFILES,
    MeteredMode,
    Network,
    Profile,
    Schedule,
    bounded,
    detect,
    load_profile,
    profile_names,
    profile_of,
)
from zkpot_agent.profile_schema import SCHEMA_FILE, json_schema, profile_schema
from zkpot_agent.profile_unit import drop_in

MODEL_TO_PROFILE = {
    "Raspberry Pi Zero 2 W Rev 1.0": "raspberry-pi-zero-2-w",
    "Raspberry Pi 4 Model B Rev 1.5": "raspberry-pi-4",
    "Raspberry Pi Compute Module 4 Rev 1.1": "raspberry-pi-4",
    "Raspberry Pi 5 Model B Rev 1.0": "raspberry-pi-5",
    "NVIDIA Jetson Nano Developer Kit": "jetson-nano",
    "NVIDIA Jetson Orin Nano Developer Kit": "jetson-orin-nano",
    "NVIDIA Jetson AGX Orin Developer Kit": "jetson-agx-orin",
}


def a_config(profile: str | None = None, **changes: object) -> AgentConfig:
    values: dict[str, object] = {
        "task": "00" * 32,
        "operator_key": "11" * 32,
        "key_file": Path("key"),
        "state_dir": Path("state"),
        "broker": BrokerSettings("localhost", 1883),
        "data": DataConfig("synthetic"),
        "profile": profile,
    }
    return AgentConfig(**(values | changes))  # type: ignore[arg-type]


def board(root: Path, model: str, name: str = "proc/device-tree/model") -> Path:
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(model.encode() + b"\0")
    return root


def test_the_boards_we_know() -> None:
    assert set(profile_names()) == {
        *MODEL_TO_PROFILE.values(),
        "generic-x86-64",
        "generic-aarch64",
    }


def test_a_profile_of_the_owners_is_named_where_every_folder_finds_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'mine\.toml' is a file: expected its absolute path"):
        a_config("mine.toml")
    assert a_config(str(tmp_path / "mine.toml")).profile is not None


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_is_valid_and_fits_a_round(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.limits.job_memory_mb + AGENT_MEMORY_MB == profile.limits.memory_mb
    assert profile.limits.job_memory_mb >= 150, "a round of digits"
    assert profile.thermal is not None


@pytest.mark.parametrize(("model", "name"), MODEL_TO_PROFILE.items())
def test_a_board_is_recognised(tmp_path: Path, model: str, name: str) -> None:
    assert detect(board(tmp_path, model)).name == name


def test_a_board_is_recognised_where_proc_is_hidden(tmp_path: Path) -> None:
    root = board(tmp_path, "Raspberry Pi 5", "sys/firmware/devicetree/base/model")
    assert load_profile("auto", root=root).name == "raspberry-pi-5"


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "generic-x86-64"), ("aarch64", "generic-aarch64")]
)
def test_an_unknown_board_gets_the_profile_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, name: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert detect(tmp_path).name == name
    assert detect(board(tmp_path, "Pine64 RockPro64 v2.1")).name == name


def test_an_unknown_machine_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(Fatal, match=r"riscv64.*name one") as caught:
        detect(tmp_path)
    assert caught.value.exit_code is ExitCode.CONFIG


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(Fatal, match="raspberry-pi-4, raspberry-pi-5"):
        load_profile("raspberry-pi-6")


def test_all_errors_of_a_profile_are_reported_at_once() -> None:
    table = {
        "name": "mine",
        "match": {"device_tree": ["x"], "machine": "x86_64"},
        "limits": {"memory_mb": 10, "cores": "four"},
        "proving": {"mode": "elsewhere"},
        "thermal": {"pause_c": 70, "resume_c": 75},
        "schedule": {"quiet_hours": ["22-6"]},
        "network": {"metered": "never", "heartbeat_s": 1, "blok": 2},
        "systemd": {"device_allow": ["/dev/x rw\nExecStartPre=/bin/evil"]},
    }
    with pytest.raises(Fatal) as caught:
        parse_config(Profile, table, Path(), "mine.toml")
    message = str(caught.value)
    for expected in (
        "description: is required",
        "name either device_tree or machine",
        "limits.memory_mb: 10 is outside",
        "limits.cores: expected int",
        "proving.mode: 'elsewhere' is not one of local, offload, auto",
        "resume_c is 75",
        "'22-6': expected HH:MM-HH:MM",
        "network.metered: 'never' is not one of use, defer",
        "network.heartbeat_s: 1 is outside",
        "network.blok: is unknown",
        "is not one line",
    ):
        assert expected in message


def test_an_owner_may_bring_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        (PROFILES / "raspberry-pi-4.toml").read_text().replace("memory_mb = 448", "memory_mb = 300")
    )
    profile = profile_of(a_config(str(path)))
    assert profile is not None
    assert profile.limits.memory_mb == 300


def test_a_profile_whose_name_is_not_its_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text((PROFILES / "raspberry-pi-4.toml").read_text())
    with pytest.raises(Fatal, match="name is 'raspberry-pi-4'"):
        load_profile("b", folder=tmp_path)


@pytest.mark.parametrize(
    ("hours", "now", "quiet"),
    [
        ("22:00-06:00", "23:30", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "18:00", False),
        ("08:00-18:00", "03:00", False),
    ],
)
def test_quiet_hours(hours: str, now: str, quiet: bool) -> None:
    found = Schedule((hours,)).quiet_at(time.fromisoformat(now))
    assert found == (hours if quiet else None)


def test_of_two_limits_the_tighter_holds() -> None:
    profile = load_profile("raspberry-pi-zero-2-w")
    free = bounded(a_config(), profile)
    assert free.limits == LimitsConfig(256 - AGENT_MEMORY_MB, 2, 15)
    assert free.broker.keepalive_s == 120
    child = free.limits.of(10)
    assert (child.memory_bytes, child.cores, child.nice) == ((256 - 96) << 20, 2, 15)
    strict = bounded(a_config(limits=LimitsConfig(100, 1, 19)), profile)
    assert strict.limits == LimitsConfig(100, 1, 19)
    greedy = bounded(a_config(limits=LimitsConfig(9000, 64, 0)), profile)
    assert greedy.limits == free.limits


def test_without_a_profile_nothing_changes() -> None:
    config = a_config()
    assert profile_of(config) is None
    assert bounded(config, None) is config


def test_modes_are_read() -> None:
    assert load_profile("raspberry-pi-5").proving.mode is ProveMode.LOCAL
    assert load_profile("raspberry-pi-4").proving.mode is ProveMode.AUTO
    assert Network().metered is MeteredMode.USE


@pytest.mark.parametrize("name", profile_names())
def test_the_drop_in_sets_cgroup_limits(name: str) -> None:
    profile = load_profile(name)
    lines = drop_in(profile).splitlines()
    assert f"MemoryMax={profile.limits.memory_mb}M" in lines
    assert f"CPUQuota={100 * profile.limits.cores}%" in lines
    assert ("PrivateDevices=no" in lines) == name.startswith("jetson")
    assert all(line.startswith("#") or line == "[Service]" or "=" in line for line in lines)


def test_the_schema_beside_the_profiles_is_fresh() -> None:
    assert json.loads((PROFILES / SCHEMA_FILE).read_text()) == profile_schema()


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles_fit_the_schema(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    import tomllib

    table = tomllib.loads((PROFILES / f"{name}.toml").read_text())
    jsonschema.validate(table, profile_schema())


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    limits = profile_schema()["properties"]["limits"]
    assert limits["additionalProperties"] is False
    assert limits["required"] == ["memory_mb", "cores"]
    assert limits["properties"]["memory_mb"] == {
        "type": "integer",
        "minimum": 192,
        "maximum": 1 << 20,
    }
    assert json_schema(ProveMode) == {"enum": ["local", "offload", "auto"]}
    assert json_schema(tuple[str, ...]) == {"type": "array", "items": {"type": "string"}}
    assert json_schema(AgentConfig)["properties"]["data"]["properties"]["parameters"] == {
        "type": "object"
    }
