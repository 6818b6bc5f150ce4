"""Who is summed with whom: disjoint groups that the beacon draws from the accepted set.

Nobody chooses a group: its members follow from the beacon, which was fixed after the
commitments were sealed. Everything a group says or signs is bound to its digest, which
names task, round, beacon, members and weights.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from zkpot.aggregation import MAX_GROUP, MAX_GROUP_SIZE
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId, device_text, digest
from zkpot.task import MAX_DEVICES
from zkpot.verify import RoundTerms
from zkpot.wire.codec import Max, Span

GROUP_SIZE = 32
"""Members of a group unless the task says otherwise: everyone masks against everyone in it."""

MINIMUM_GROUP = 5
"""Members below which a sum would say too much about each of them, by default."""

MAX_WEIGHT = 10_000
"""Weights are 1 or a proven count, which no batch exceeds."""


@dataclass(frozen=True)
class Member:
    """A device of the group and the weight of its model in the sum."""

    device: DeviceId
    weight: Annotated[int, Span(1, MAX_WEIGHT)]

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise Rejected(Reason.OUT_OF_RANGE, f"a weight of {self.weight}")


@dataclass(frozen=True)
class Group:
    """One group of one round; its members are sorted by device id."""

    task: TaskId
    round: Round
    beacon: Beacon
    index: Annotated[int, Span(0, MAX_DEVICES)]
    members: Annotated[tuple[Member, ...], Max(MAX_GROUP)]

    def __post_init__(self) -> None:
        devices = list(self.devices)
        if not devices or devices != sorted(set(devices)):
            raise Rejected(Reason.MALFORMED, "members are not sorted, or not distinct")

    @cached_property
    def digest(self) -> Digest:
        """Names exactly this group of this round."""
        parts = [m.device + m.weight.to_bytes(8, "big") for m in self.members]
        numbers = (number.to_bytes(8, "big") for number in (self.round, self.index))
        return digest("secure-group", self.task, *numbers, self.beacon, *parts)

    @cached_property
    def devices(self) -> tuple[DeviceId, ...]:
        """The members' ids, sorted."""
        return tuple(member.device for member in self.members)

    @cached_property
    def device_to_weight(self) -> Mapping[DeviceId, int]:
        """The weight of each member."""
        return {member.device: member.weight for member in self.members}

    @property
    def threshold(self) -> int:
        """How many members must take every step, and how many shares give a secret.

        More than two thirds: two lists of survivors can only both find this many signatures
        if more than a third of the group signs twice.
        """
        return 2 * len(self.members) // 3 + 1


@dataclass(frozen=True)
class GroupPolicy:
    """What a device demands of its group, set on the device and never from afar.

    Each of `owners` must have a member in the group beside the device itself, and each of
    `devices` must be such a member. Owners are as the roster says; a device id is its key's.
    """

    minimum: int = MINIMUM_GROUP
    owners: frozenset[str] = frozenset()
    devices: frozenset[DeviceId] = frozenset()


def draw_groups(
    task: TaskId,
    round_number: Round,
    beacon: Beacon,
    sealed: Collection[DeviceId],
    device_to_weight: Mapping[DeviceId, int],
    *,
    size: int = GROUP_SIZE,
    minimum: int = MINIMUM_GROUP,
) -> tuple[Group, ...]:
    """Splits the accepted devices, those in `device_to_weight`, into groups.

    All `sealed` devices are dealt into as many groups of at most `size` as they need, in the
    order of H(beacon, device); then those that were not accepted leave, and the smallest group
    joins the next smallest while it has fewer than `minimum`. So, until groups are joined,
    who is accepted changes nothing about who is together: whoever judges after the draw
    cannot draw again. Raises `Rejected` if fewer than `minimum` are accepted.
    """
    if not 1 <= minimum <= size <= MAX_GROUP_SIZE:
        raise ValueError(f"groups of {minimum} to {size}, at most {MAX_GROUP_SIZE}")
    if not device_to_weight.keys() <= set(sealed):
        raise Rejected(Reason.NOT_COMMITTED, "an accepted device without a sealed commitment")
    if len(device_to_weight) < minimum:
        raise Rejected(
            Reason.GROUP_TOO_SMALL, f"{len(device_to_weight)} devices, a group needs {minimum}"
        )
    drawn = sorted(set(sealed), key=lambda device: digest("secure-draw", beacon, device))
    count = -(-len(drawn) // size)
    parts = [
        sorted(device for device in drawn[index::count] if device in device_to_weight)
        for index in range(count)
    ]
    return tuple(
        Group(
            task,
            round_number,
            beacon,
            index,
            tuple(Member(device, device_to_weight[device]) for device in part),
        )
        for index, part in enumerate(_joined(parts, minimum))
    )


def round_groups(
    terms: RoundTerms,
    beacon: Beacon,
    sealed: Collection[DeviceId],
    device_to_count: Mapping[DeviceId, int],
) -> tuple[Group, ...]:
    """The groups of a round, from the accepted devices and their proven counts."""
    task = terms.task
    return draw_groups(
        terms.task_id,
        terms.round,
        beacon,
        sealed,
        {device: task.weight(count) for device, count in device_to_count.items()},
        size=task.groups.size,
        minimum=task.groups.minimum,
    )


def _joined(parts: list[list[DeviceId]], minimum: int) -> list[list[DeviceId]]:
    while len(parts) > 1:
        first, second = sorted(range(len(parts)), key=lambda index: (len(parts[index]), index))[:2]
        if len(parts[first]) >= minimum:
            break
        parts[second] = sorted(parts[first] + parts[second])
        del parts[first]
    return parts


def group_of(groups: Collection[Group], device: DeviceId) -> Group:
    """The one group `device` is in; raises `Rejected` if it is in none."""
    for group in groups:
        if device in group.device_to_weight:
            return group
    raise Rejected(Reason.NOT_IN_ROSTER, f"{device_text(device)} is in no group")


def check_policy(
    group: Group, device: DeviceId, device_to_owner: Mapping[DeviceId, str], policy: GroupPolicy
) -> Group:
    """Returns the group if `policy` lets `device` take part in it; raises `Rejected` if not."""
    if len(group.members) < policy.minimum:
        raise Rejected(
            Reason.POLICY_REFUSED, f"a group of {len(group.members)}, we demand {policy.minimum}"
        )
    peers = {peer for peer in group.devices if peer != device}
    owners = policy.owners - {device_to_owner.get(peer) for peer in peers}
    if owners:
        raise Rejected(Reason.POLICY_REFUSED, f"no member of {', '.join(sorted(owners))}")
    absent = ", ".join(map(device_text, sorted(policy.devices - peers)))
    if absent:
        raise Rejected(Reason.POLICY_REFUSED, f"not beside us in the group: {absent}")
    return group
