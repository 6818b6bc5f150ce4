"""Strikes: who keeps being in groups whose sum could not be used.

A spoilt sum shows that a member lied, not which one, unless a false dealing names it. So all
who can have done it get a strike if another sum of the round is good: if none is, nothing tells
liars from others. The same round clears all the rest, whether they were in a good sum or in none,
as one who lies needs not lie always: to be missing once must not count against anybody. The
beacon deals the devices into other groups in every round: honest devices come free again, one
that always lies never does, and one liar alone never has fewer strikes than those it lies beside.
Several who take turns at lying, only beside one device they have chosen, get that one left out.
At the end of a round those are left out of the task who have the most strikes,

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
    """A device's strikes since it was last cleared."""

    device: DeviceId
    number: int


@dataclass(frozen=True)
class Strikes:
    """Everybody's strikes, and who has been left out for them."""

    counts: Annotated[tuple[Count, ...], Max(MAX_DEVICES)] = ()
    out: Annotated[tuple[DeviceId, ...], Max(MAX_DEVICES)] = ()

    def count(self, spoilt: Collection[Collection[DeviceId]], *, any_is_good: bool) -> "Strikes":
        """After a round with `spoilt` sums, each by one of its suspects.

        A lone suspect is proven to have lied, however the other sums are.
        """
        suspects = {device for each in spoilt if any_is_good or len(each) == 1 for device in each}
        numbers = {
            each.device: each.number
            for each in self.counts
            if not any_is_good or each.device in suspects or each.device in self.out
        }
        for device in suspects:
            numbers[device] = numbers.get(device, 0) + 1
        return replace(self, counts=tuple(Count(*item) for item in sorted(numbers.items())))

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
