"""The board's temperature, from the kernel's thermal zones."""

import logging
from dataclasses import dataclass
from pathlib import Path

from zkpot_agent.profile import Thermal

SYSFS = Path("/sys")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Zone:
    """One sensor: its kernel name and degrees Celsius."""

    name: str
    celsius: float


def read_zones(sysfs: Path = SYSFS) -> list[Zone]:
    """Every zone that gives a plausible temperature; a sleeping sensor may give none."""
    zones = []
    for folder in sorted(sysfs.glob("class/thermal/thermal_zone*")):
        try:
            name = (folder / "type").read_text().strip()
            celsius = int((folder / "temp").read_text()) / 1000
        except (OSError, ValueError) as error:
            _logger.debug("%s gives no temperature: %s", folder, error)
            continue
        if -40 < celsius < 200:
            zones.append(Zone(name, celsius))
    return zones


class Thermometer:
    """Says when to pause, with hysteresis: it remembers whether it has said so."""

    def __init__(self, limits: Thermal, sysfs: Path = SYSFS) -> None:
        self._limits = limits
        self._sysfs = sysfs
        self._hot = False

    def hottest(self) -> Zone | None:
        """The hottest of the zones that count; None where no sensor answers."""
        chosen = self._limits.zones
        zones = [zone for zone in read_zones(self._sysfs) if not chosen or zone.name in chosen]
        return max(zones, key=lambda zone: zone.celsius, default=None)

    def too_hot(self) -> Zone | None:
        """The zone that is too hot to train, None if none is; without a sensor never."""
        zone = self.hottest()
        if zone is None:
            self._hot = False
            return None
        limit = self._limits.resume_c if self._hot else self._limits.pause_c
        self._hot = zone.celsius > limit if self._hot else zone.celsius >= limit
        return zone if self._hot else None
