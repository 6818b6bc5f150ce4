"""`zkpot-agent install` and `uninstall`: the files that make the agent a service.

Install writes what is missing and replaces what an earlier install wrote and nobody changed;
a file that is somebody's own is kept and named. Uninstall removes what the manifest lists,
unless it was changed since, and the folders that install made, if they are empty.
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zkpot.config import toml_value
from zkpot.errors import ExitCode, Fatal
from zkpot.files import WORLD
from zkpot_agent.install_manifest import MANIFEST, Manifest, digest, file_digest
from zkpot_agent.profile import Profile, load_profile
from zkpot_agent.profile_unit import DROP_IN, drop_in

UNITS = Path(__file__).parent / "systemd"
"""In a wheel and in the repository alike: there it is a link."""

UNIT = "zkpot-agent.service"
SHIPPED_COMMAND = "/usr/bin/zkpot-agent"
SHIPPED_CONFIG = "/etc/zkpot/agent.toml"

_CREDENTIALS = "etc/zkpot/agent.credentials"

_MEANS_MORE = frozenset(" \"'%$\\")
"""Characters that stand for something else in a unit's command line."""

_SKELETON = """\
# The agent's configuration; docs/device.md explains every line. It is yours: `install` never
# replaces it once you have changed it. `zkpot-agent check --config {path}` says what is missing.

# From the operator: which task, and whose signature stands under its rounds.
task = ""
operator_key = ""

# Made by `zkpot-agent keygen`; systemd hands the service a copy of everything in that folder.
key_file = "/etc/zkpot/agent.credentials/device.key"
state_dir = "/var/lib/zkpot-agent"

profile = {profile}

[broker]
host = ""
port = 8883
# username = ""
# password_file = "/etc/zkpot/agent.credentials/broker.password"

[broker.tls]
ca_file = "/etc/ssl/certs/ca-certificates.crt"

[data]
source = "csv"

[data.parameters]
path = "/var/lib/zkpot-agent/samples.csv"
classes = 2

# [prove]
# provers = ["the public key of each prover that may see this device's model"]

[export]
folder = "/var/lib/zkpot-models"

# What this device agrees to, whatever a task asks: see docs/privacy.md.
# [privacy]
# aggregation = ["secure"]
# minimum_group = 5
# owners = []
# devices = []

# [hook]
# socket = "/run/my-application/model.sock"
"""


@dataclass(frozen=True)
class Planned:
    """One file to write; `path` is relative to the root."""

    path: str
    data: bytes
    mode: int = WORLD


@dataclass
class Report:
    """What was done, and what the user has to know or do."""

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def install(root: Path, profile_name: str, config: str, command: Path | None = None) -> Report:
    """Writes unit, drop-in, groups, folders and a config skeleton under `root`.

    `config` is where the configuration will lie on the device; `command` is the program the
    unit starts, by default this one. Raises `Fatal` (CONFIG) for an unknown profile or a
    path that cannot stand in a unit, (FAILURE) where something cannot be written: doing it again
    goes on from there.
    """
    program = command or _own_command()
    for what, path in (("--config", config), ("this program", str(program))):
        if not Path(path).is_absolute() or not path.isprintable() or set(path) & _MEANS_MORE:
            raise Fatal(
                ExitCode.CONFIG,
                f"{what} {path}: expected an absolute path without spaces, quotes, %, $ and \\",
            )
    if not root.is_dir():
        raise Fatal(ExitCode.CONFIG, f"--root {root}: expected a folder that exists")
    profile, report = load_profile(profile_name, root=root), Report()
    if profile_name.endswith(".toml"):
        profile_name = str(Path(profile_name).absolute())
    else:
        profile_name = profile.name
    try:
        _write_all(root, _files(profile, profile_name, config, program), report)
    except OSError as error:
        raise Fatal(ExitCode.FAILURE, f"not all is installed: {error}") from error
    report.done.append(f"profile {profile.name}: {profile.description}")
    report.hints += [
        f"{path} lies where ProtectHome= hides it: put it elsewhere, and install again"
        for path in (str(program), profile_name, config)
        if any(Path(path).is_relative_to(place) for place in ("/home", "/root", "/run/user"))
    ]
    report.hints += _next_steps(config)
    return report


def uninstall(root: Path) -> Report:
    """Removes exactly what install wrote under `root`; raises `Fatal` (STATE) without a manifest.

    Keys, state, published models and changed files stay, and are named. Raises `Fatal` (FAILURE)
    where something cannot be removed: doing it again goes on from there.
    """
    manifest, report = Manifest.load(root), Report()
    if not manifest.exists:
        raise Fatal(ExitCode.STATE, f"{root / MANIFEST} is not there: nothing was installed")
    try:
        _remove_all(root, manifest, report)
    except OSError as error:
        raise Fatal(ExitCode.FAILURE, f"not all is removed: {error}") from error
    return report


def activate(root: Path, run: Callable[[list[str]], None]) -> list[str]:
    """Lets a running systemd know; returns the commands. Nothing in a dry run or a container."""
    if root != Path("/") or not Path("/run/systemd/system").is_dir():
        return []
    commands = [
        ["systemd-sysusers", "zkpot.conf"],
        ["systemd-tmpfiles", "--create", "zkpot.conf"],
        ["systemctl", "daemon-reload"],
    ]
    for each in commands:
        if shutil.which(each[0]) is not None:
            run(each)
    return [" ".join(each) for each in commands]


def _files(profile: Profile, profile_name: str, config: str, program: Path) -> list[Planned]:
    unit = (UNITS / UNIT).read_text()
    if SHIPPED_COMMAND not in unit or SHIPPED_CONFIG not in unit:
        raise AssertionError(f"{UNIT} starts something else")
    unit = unit.replace(SHIPPED_COMMAND, str(program)).replace(SHIPPED_CONFIG, config)
    skeleton = _SKELETON.format(path=config, profile=toml_value(profile_name))
    return [
        Planned("etc/sysusers.d/zkpot.conf", (UNITS / "sysusers.d/zkpot.conf").read_bytes()),
        Planned("etc/tmpfiles.d/zkpot.conf", (UNITS / "tmpfiles.d/zkpot.conf").read_bytes()),
        Planned(f"etc/systemd/system/{UNIT}", unit.encode()),
        Planned(f"etc/systemd/system/{UNIT}.d/{DROP_IN}", drop_in(profile).encode()),
        Planned(config.lstrip("/"), skeleton.encode()),
    ]


def _write_all(root: Path, files: list[Planned], report: Report) -> None:
    manifest = Manifest.load(root)
    manifest.tidy()
    manifest.make_folder("etc/zkpot", 0o755)
    manifest.make_folder(_CREDENTIALS, 0o700)
    for planned in files:
        found = file_digest(root / planned.path)
        if found == digest(planned.data):
            continue
        if found is not None and not manifest.wrote(planned.path, found):
            report.kept.append(f"/{planned.path}: there already, and not as installed")
            continue
        manifest.write(planned.path, planned.data, planned.mode)
        report.done.append(f"/{planned.path}")
    manifest.replaced.clear()
    manifest.save()


def _remove_all(root: Path, manifest: Manifest, report: Report) -> None:
    """The manifest goes when all that it names is gone, but for the folder it lies in."""
    manifest.tidy()
    for path in sorted(manifest.files):
        found = file_digest(root / path)
        if manifest.wrote(path, found):
            (root / path).unlink()
            report.done.append(f"/{path}")
        elif found is not None:
            report.kept.append(f"/{path}: changed since it was installed")
    around = [str(each) for each in Path(MANIFEST).parents]
    inner_first = sorted(manifest.folders, reverse=True)
    for path in [each for each in inner_first if each not in around]:
        _remove_folder(root, path, report)
    (root / MANIFEST).unlink()
    for path in [each for each in inner_first if each in around]:
        _remove_folder(root, path, report)


def _remove_folder(root: Path, path: str, report: Report) -> None:
    target = root / path
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
        report.done.append(f"/{path}/")
    elif target.exists():
        report.kept.append(f"/{path}/: not empty")


def _own_command() -> Path:
    """The console script of the environment that runs."""
    beside = Path(sys.prefix) / "bin" / "zkpot-agent"
    if Path(SHIPPED_COMMAND).resolve() == beside or not os.access(beside, os.X_OK):
        return Path(SHIPPED_COMMAND)
    return beside


def _next_steps(config: str) -> list[str]:
    return [
        f"zkpot-agent keygen /{_CREDENTIALS}/device.key   and give the operator what it prints",
        f"fill in {config}",
        f"zkpot-agent check --config {config}",
        "systemctl enable --now zkpot-agent",
    ]
