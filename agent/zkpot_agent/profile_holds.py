"""What makes training wait: heat, quiet hours, a metered connection.

Looked at before training begins and, but for the connection, at every step of it. Times are
the device's own and local; no rule of the protocol depends on them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from zkpot.proof.system import Progress
from zkpot_agent.profile import MeteredMode, Profile, Schedule, Thermal
from zkpot_agent.thermal import SYSFS, Thermometer

POLL_SECONDS = 2.0
"""Between two looks: a board heats up by some degrees in that time."""

_METERED = frozenset({b"u 1", b"u 3"})
"""NMMetered of NetworkManager's D-Bus interface: yes, and probably."""

_BUSCTL = (
    "busctl",
    "get-property",
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
    "Metered",
)
_BUSCTL_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holds:
    """What may hold training up on this device; crosses into the child process."""

    thermal: Thermal | None = None
    schedule: Schedule = field(default_factory=Schedule)
    defer_metered: bool = False
    sysfs: Path = SYSFS

    @classmethod
    def of(cls, profile: Profile | None) -> "Holds":
        """Those of a profile; none without one."""
        if profile is None:
            return cls()
        defer = profile.network.metered is MeteredMode.DEFER
        return cls(profile.thermal, profile.schedule, defer)


NO_HOLDS = Holds()


class Watch:
    """Looks at the device; `reason` is None when training may go on."""

    def __init__(
        self,
        holds: Holds,
        *,
        now: Callable[[], datetime] = datetime.now,
        metered: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._holds = holds
        self._now = now
        self._metered = metered or is_metered
        limits = holds.thermal
        self._thermometer = None if limits is None else Thermometer(limits, holds.sysfs)

    def reason(self) -> str | None:
        """Why training must wait, in words for the status line."""
        if self._thermometer is not None and (zone := self._thermometer.too_hot()) is not None:
            return f"{zone.name} has {zone.celsius:.0f} degrees"
        quiet = self._holds.schedule.quiet_at(self._now().time())
        return None if quiet is None else f"quiet hours {quiet}"

    async def wait(self, report: Progress, *, poll_s: float = POLL_SECONDS) -> None:
        """Returns when training may begin."""
        while (why := self.reason() or await self._connection()) is not None:
            report(f"waiting: {why}", 0.0)
            await asyncio.sleep(poll_s)

    async def _connection(self) -> str | None:
        if self._holds.defer_metered and await self._metered():
            return "the connection is metered"
        return None


def pausing(
    progress: Progress,
    watch: Watch,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """A progress report that holds up the work it reports on, in the child process."""
    next_look = clock()

    def report(what: str, fraction: float) -> None:
        nonlocal next_look
        if clock() >= next_look:
            while (why := watch.reason()) is not None:
                progress(f"paused: {why}", fraction)
                sleep(POLL_SECONDS)
            next_look = clock() + POLL_SECONDS
        progress(what, fraction)

    return report


async def is_metered() -> bool:
    """What NetworkManager says of the connection; False where it is not in use."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_BUSCTL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        _logger.debug("cannot ask whether the connection is metered: %s", error)
        return False
    try:
        async with asyncio.timeout(_BUSCTL_SECONDS):
            answer, _ = await process.communicate()
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return answer.strip() in _METERED
