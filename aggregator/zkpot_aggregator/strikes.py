"""Strikes: who keeps being in groups whose sum could not be used.

A spoilt sum shows that a member lied, not which one, unless a false dealing names it. So all
who can have done it get a strike, a good sum clears its survivors, and the beacon deals the
devices into other groups in every round: honest devices come free again, one that always lies
never does. Several who take turns at lying, only beside one device they have chosen, get that one
left out. At the end of a round those are left out of the task who have the most strikes,

- `LIMIT` or more above the fewest, if one device alone has the most;
- `SHARED` or more, if several have: honest ones may have been in a liar's groups by chance.

Nobody is left out if fewer than the task's minimum would remain. Strikes are the aggregator's
own memory, in its journal: nothing that others check depends on them.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated

from zkpot.ids import DeviceId
from zkpot.record import Roster
from zkpot.task import MAX_DEVICES
from zkpot.wire.codec import Max

LIMIT = 3
SHARED = 9


@dataclass(frozen=True)
class Count:
    """A device's strikes since it was last in a good sum."""

    device: DeviceId
    number: int


@dataclass(frozen=True)
class Strikes:
    """Everybody's strikes, and who has been left out for them."""

    counts: Annotated[tuple[Count, ...], Max(MAX_DEVICES)] = ()
    out: Annotated[tuple[DeviceId, ...], Max(MAX_DEVICES)] = ()

    def count(self, suspects: Collection[DeviceId], cleared: Collection[DeviceId]) -> "Strikes":
        """After a sum that `suspects` may have spoilt, or one that clears others."""
        numbers = {each.device: each.number for each in self.counts}
        for device in suspects:
            numbers[device] = numbers.get(device, 0) + 1
        kept = sorted(item for item in numbers.items() if item[0] not in cleared)
        return replace(self, counts=tuple(Count(*item) for item in kept))

    def judge(self, devices: Collection[DeviceId], minimum: int) -> "Strikes":
        """At the end of a round, of the enrolled `devices`; at least `minimum` stay."""
        numbers = dict.fromkeys(set(devices) - set(self.out), 0)
        numbers |= {each.device: each.number for each in self.counts if each.device in numbers}
        most, fewest = max(numbers.values(), default=0), min(numbers.values(), default=0)
        worst = [device for device, number in numbers.items() if number == most]
        limit = LIMIT if len(worst) == 1 else SHARED
        if most - fewest < limit or len(numbers) - len(worst) < minimum:
            return self
        return replace(self, out=tuple(sorted((*self.out, *worst))))

    def without(self, roster: Roster) -> Roster:
        """The roster less those who have been left out."""
        return Roster(tuple(each for each in roster.entries if each.device not in self.out))
