"""The systemd units: exit codes, exposure, syntax, and what every one of them must say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from zkpot.errors import ExitCode
from zkpot_agent import config as agent_config
from zkpot_agent.install import SHIPPED_COMMAND, SHIPPED_CONFIG, UNITS, install
from zkpot_agent.profile import profile_names
from zkpot_aggregator import config as aggregator_config
from zkpot_aggregator.prover import config as prover_config

ROOT = Path(__file__).parents[2]
SERVICES = sorted((ROOT / "systemd").glob("*.service"))
MOST_EXPOSED = 2.0

WORTH_A_RETRY = {
    ExitCode.OK,
    ExitCode.FAILURE,
    ExitCode.INTERNAL,
    ExitCode.INTERRUPTED,
    # A hostile or a misled broker can say so, and changes its mind one day.
    ExitCode.CREDENTIALS,
    # Of commands that end by themselves, never of a service.
    ExitCode.AUDIT_FAILED,
    ExitCode.AUDIT_INCOMPLETE,
}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture(params=SERVICES, ids=lambda path: path.stem)
def service(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_all_four_are_there() -> None:
    names = [f"zkpot-{role}.service" for role in ("agent", "aggregator", "prover", "validator")]
    assert [each.name for each in SERVICES] == names


def test_what_only_the_owner_can_mend_is_not_restarted(service: Path) -> None:
    (listed,) = settings(service)["RestartPreventExitStatus"]
    assert {int(code) for code in listed.split()} == {
        int(code) for code in ExitCode if code not in WORTH_A_RETRY
    }


def test_every_service_notifies_is_watched_and_keeps_trying(service: Path) -> None:
    found = settings(service)
    assert found["Type"] == ["notify"]
    assert found["Restart"] == ["on-failure"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["TimeoutStartSec"] == ["infinity"]
    assert found["WatchdogSec"] == ["2min"]
    assert found["DynamicUser"] == ["yes"]
    role = service.stem
    assert found["StateDirectory"] == [role]
    short = role.removeprefix("zkpot-")
    assert found["LoadCredential"] == [f"{short}:/etc/zkpot/{short}.credentials"]
    (command,) = found["ExecStart"]
    assert command.startswith("/usr/bin/zkpot-")


def test_the_commands_are_as_designed() -> None:
    subcommands = [settings(each)["ExecStart"][0].split()[:2] for each in SERVICES]
    assert subcommands == [
        ["/usr/bin/zkpot-agent", "run"],
        ["/usr/bin/zkpot-aggregator", "run"],
        ["/usr/bin/zkpot-aggregator", "prover"],
        ["/usr/bin/zkpot-aggregator", "validate"],
    ]


def test_the_agents_unit_fits_what_install_and_the_config_expect() -> None:
    found = settings(UNITS / "zkpot-agent.service")
    assert found["ExecStart"] == [f"{SHIPPED_COMMAND} run --config {SHIPPED_CONFIG}"]
    assert found["SupplementaryGroups"] == ["zkpot-models"]
    sysusers = (UNITS / "sysusers.d" / "zkpot.conf").read_text()
    assert re.search(r"^g zkpot-models ", sysusers, re.MULTILINE)


def test_each_role_looks_for_the_copies_that_its_unit_makes() -> None:
    roles = (agent_config, aggregator_config, prover_config)
    for role, unit in zip(roles, SERVICES, strict=False):
        (line,) = settings(unit)["LoadCredential"]
        assert line.partition(":")[0] == role.CREDENTIAL


def test_children_may_lower_their_priority_and_choose_processors(service: Path) -> None:
    """`zkpot.proof.child` calls nice and sched_setaffinity, which are in @resources."""
    assert settings(service)["SystemCallFilter"] == ["@system-service", "~@privileged"]


def test_a_crash_leaves_no_keys_or_weights_on_the_disk(service: Path) -> None:
    """The watchdog ends a service by SIGABRT, which writes an image of its memory."""
    assert settings(service)["LimitCORE"] == ["0"]


def exposure(*arguments: str) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    return float(found.group(1))


@needs_systemd
def test_exposure(service: Path) -> None:
    assert exposure(str(service)) <= MOST_EXPOSED


def fake_root(folder: Path, profile: str) -> Path:
    """What `install` writes, the other units, and programs that exist."""
    install(folder, profile, "/etc/zkpot/agent.toml", Path(SHIPPED_COMMAND))
    units = folder / "etc/systemd/system"
    for each in SERVICES:
        if not (units / each.name).exists():
            shutil.copy(each, units)
    (folder / "usr/bin").mkdir(parents=True)
    for name in ("zkpot-agent", "zkpot-aggregator"):
        program = folder / "usr/bin" / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    shutil.copytree("/usr/lib/systemd/system", folder / "usr/lib/systemd/system", symlinks=True)
    return folder


@needs_systemd
@pytest.mark.parametrize("profile", profile_names())
def test_installed_units_verify_without_a_warning(tmp_path: Path, profile: str) -> None:
    root = fake_root(tmp_path, profile)
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            f"--root={root}",
            "--man=no",
            "--recursive-errors=no",
            *(each.name for each in SERVICES),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    agent = exposure(f"--root={root}", "zkpot-agent.service")
    assert agent <= MOST_EXPOSED


@needs_systemd
def test_a_wrong_key_would_be_noticed(tmp_path: Path) -> None:
    root = fake_root(tmp_path, "raspberry-pi-4")
    unit = root / "etc/systemd/system/zkpot-agent.service"
    unit.write_text(unit.read_text().replace("UMask=", "UMaks="))
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", "--man=no", unit.name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UMaks" in done.stderr
