"""Firmware profiles: what one kind of board can bear, and which board this is.

A profile bounds a device; it never widens what the owner's config allows. The JSON schema
beside the profiles is made from these classes (`profile_schema`).
"""

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import time
from enum import StrEnum, unique
from pathlib import Path
from typing import Annotated

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot.wire.codec import Span
from zkpot_agent.config import AgentConfig, LimitsConfig, ProveMode

AUTO = "auto"

PROFILES = Path(__file__).parent / "firmware_profiles"
"""In a wheel and in the repository alike: there it is a link."""

AGENT_MEMORY_MB = 96
"""Of a device's budget, what the service itself may need; its child processes get the rest."""

_MODEL_FILES = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
"""The same text twice: the first is hidden from services with ProcSubset=pid."""

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@unique
class MeteredMode(StrEnum):
    """`use` works over a metered connection too, `defer` waits for another one."""

    USE = "use"
    DEFER = "defer"


@dataclass(frozen=True)
class MatchRule:
    """Which boards: texts of which the device tree's model contains one, or any of a machine."""

    device_tree: tuple[str, ...] = ()
    machine: str | None = None

    def __post_init__(self) -> None:
        if bool(self.device_tree) == (self.machine is not None):
            raise ValueError("name either device_tree or machine")


@dataclass(frozen=True)
class ProfileLimits:
    """What the whole service may use: agent, training and proving together."""

    memory_mb: Annotated[int, Span(192, 1 << 20)]
    cores: Annotated[int, Span(1, 256)]
    nice: Annotated[int, Span(0, 19)] = 10

    @property
    def job_memory_mb(self) -> int:
        """What one child process may use."""
        return self.memory_mb - AGENT_MEMORY_MB


@dataclass(frozen=True)
class Thermal:
    """Training pauses at `pause_c` degrees and goes on at `resume_c`.

    `zones` are kernel names of thermal zones; none means the hottest of all.
    """

    pause_c: Annotated[int, Span(30, 120)]
    resume_c: Annotated[int, Span(20, 119)]
    zones: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.resume_c >= self.pause_c:
            raise ValueError(f"resume_c is {self.resume_c}, expected less than {self.pause_c}")


@dataclass(frozen=True)
class Schedule:
    """Hours of the local day in which nothing is trained, like `22:00-06:00`."""

    quiet_hours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [hours for hours in self.quiet_hours if not _HOURS.fullmatch(hours)]
        if wrong:
            raise ValueError(f"quiet_hours: {', '.join(map(repr, wrong))}: expected HH:MM-HH:MM")

    def quiet_at(self, now: time) -> str | None:
        """The quiet hours that `now` lies in; the end is excluded, midnight may be inside."""
        for hours in self.quiet_hours:
            start, end = (time.fromisoformat(text) for text in hours.split("-"))
            if start <= now < end if start <= end else now >= start or now < end:
                return hours
        return None


@dataclass(frozen=True)
class Network:
    """How the link is used.

    `heartbeat_s` is the least time between keep-alives, `blocks_in_flight` how many blocks of
    128 KiB are asked for at once (the size itself is part of the format).
    """

    metered: MeteredMode = MeteredMode.USE
    heartbeat_s: Annotated[int, Span(5, 3600)] = 30
    blocks_in_flight: Annotated[int, Span(1, 64)] = 16


@dataclass(frozen=True)
class Systemd:
    """What the board's drop-in adds to the unit: devices and groups its trainers need."""

    device_allow: tuple[str, ...] = ()
    supplementary_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (*self.device_allow, *self.supplementary_groups):
            if not text.isprintable():
                raise ValueError(f"{text!r} is not one line")


@dataclass(frozen=True)
class Proving:
    """Where this board proves."""

    mode: ProveMode = ProveMode.AUTO


@dataclass(frozen=True)
class Profile:
    """One kind of board."""

    name: str
    description: str
    match: MatchRule
    limits: ProfileLimits
    proving: Proving = field(default_factory=Proving)
    thermal: Thermal | None = None
    schedule: Schedule = field(default_factory=Schedule)
    network: Network = field(default_factory=Network)
    systemd: Systemd = field(default_factory=Systemd)


def profile_names(folder: Path = PROFILES) -> list[str]:
    """The shipped profiles."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_profile(name: str, *, root: Path = Path("/"), folder: Path = PROFILES) -> Profile:
    """The profile of this name, `auto` for this board's, or a file that ends in `.toml`.

    Raises `Fatal` (CONFIG) with every error of the file.
    """
    if name == AUTO:
        return detect(root, folder)
    if name.endswith(".toml"):
        return load_config(Profile, Path(name))
    if name not in profile_names(folder):
        raise Fatal(
            ExitCode.CONFIG,
            f"no profile {name!r}; there are: {', '.join((AUTO, *profile_names(folder)))}, "
            "or name a .toml file",
        )
    found = load_config(Profile, folder / f"{name}.toml")
    if found.name != name:
        raise Fatal(ExitCode.CONFIG, f"{folder / name}.toml: name is {found.name!r}")
    return found


def detect(root: Path = Path("/"), folder: Path = PROFILES) -> Profile:
    """The profile of the board whose files lie under `root`.

    The longest matching text wins, so that "Zero 2" may stand beside a shorter name; a board
    without a device tree gets the profile of its machine. Raises `Fatal` (CONFIG) for none.
    """
    profiles = [load_profile(name, folder=folder) for name in profile_names(folder)]
    model = board_model(root)
    if model is not None:
        matches = [
            (len(text), profile)
            for profile in profiles
            for text in profile.match.device_tree
            if text in model
        ]
        if matches:
            return max(matches, key=lambda match: match[0])[1]
    return _of_machine(profiles, model)


def board_model(root: Path = Path("/")) -> str | None:
    """What the device tree calls this board; None without one."""
    for name in _MODEL_FILES:
        try:
            return (root / name).read_bytes().rstrip(b"\0\n").decode(errors="replace")
        except OSError:
            continue
    return None


def _of_machine(profiles: Iterable[Profile], model: str | None) -> Profile:
    machine = platform.machine()
    for profile in profiles:
        if profile.match.machine == machine:
            return profile
    raise Fatal(
        ExitCode.CONFIG,
        f"no profile for this board ({model or 'no device tree'}, {machine}): name one",
    )


def profile_of(config: AgentConfig, *, root: Path = Path("/")) -> Profile | None:
    """The profile that `config` names, if it names one."""
    return None if config.profile is None else load_profile(config.profile, root=root)


def bounded(config: AgentConfig, profile: Profile | None) -> AgentConfig:
    """`config` within its profile: of two limits the tighter one holds."""
    if profile is None:
        return config
    own, board = config.limits, profile.limits
    limits = LimitsConfig(
        memory_mb=min(own.memory_mb or board.job_memory_mb, board.job_memory_mb),
        cores=min(own.cores or board.cores, board.cores),
        nice=max(own.nice, board.nice),
    )
    keepalive_s = max(config.broker.keepalive_s, profile.network.heartbeat_s)
    return replace(
        config,
        limits=limits,
        broker=replace(config.broker, keepalive_s=keepalive_s),
        prove=replace(config.prove, mode=config.prove.mode or profile.proving.mode),
    )
