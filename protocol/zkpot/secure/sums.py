"""Sums of groups: their form in the record, the check against commitments, the global model.

A group's sum counts only if it opens the weighted sum of exactly its survivors' commitments.
Anyone can check that: the commitments are sealed on chain, the groups follow from the beacon,
and group sums are public. In order:

1. the group exists, and the survivors are at least `threshold` of its members;
2. theta and blinding open the sum of the survivors' commitments with the group's weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from zkpot.aggregate import MAX_BLINDING_BYTES, MAX_MODEL_BYTES, GlobalModel
from zkpot.aggregation import MAX_GROUP
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.model import Int64Array
from zkpot.proof.system import Commitments, ModelOpening
from zkpot.record import MAX_OBJECT_BYTES, Sum, Summand
from zkpot.secure.groups import Group, Member
from zkpot.task import MAX_DEVICES
from zkpot.wire.codec import Max, Span, decode, encode


@dataclass(frozen=True, eq=False, repr=False)
class GroupSum:
    """The sum of the survivors' weighted theta (int64 [P]), and its blinding."""

    index: int
    survivors: tuple[DeviceId, ...]
    theta_sum: Int64Array
    blinding: bytes

    @property
    def opening(self) -> ModelOpening:
        """What opens the weighted sum of the survivors' commitments."""
        return ModelOpening(self.theta_sum, self.blinding)


@dataclass(frozen=True)
class GroupSumObject:
    """The wire form of a group's sum: theta as int32 little-endian."""

    index: Annotated[int, Span(0, MAX_DEVICES)]
    survivors: Annotated[tuple[DeviceId, ...], Max(MAX_GROUP)]
    theta_sum: Annotated[bytes, Max(MAX_MODEL_BYTES)]
    blinding: Annotated[bytes, Max(MAX_BLINDING_BYTES)]


def encode_group_sum(item: GroupSum) -> bytes:
    """The object a record names for each group."""
    theta = item.theta_sum.astype("<i4").tobytes()
    return encode(GroupSumObject(item.index, item.survivors, theta, item.blinding))


def decode_group_sum(data: bytes) -> GroupSum:
    """Reads a group's sum; raises `Rejected` for anything else."""
    item = decode(GroupSumObject, data, limit=MAX_OBJECT_BYTES)
    if len(item.theta_sum) % 4:
        raise Rejected(Reason.MALFORMED, "a sum that is not of 4-byte words")
    theta = np.frombuffer(item.theta_sum, "<i4").astype(np.int64)
    return GroupSum(item.index, item.survivors, theta, item.blinding)


def check_group_sum(
    groups: Sequence[Group],
    item: GroupSum,
    sealed: Mapping[DeviceId, bytes],
    commitments: Commitments,
) -> tuple[Member, ...]:
    """The members in the sum, if it opens their commitments; raises `Rejected` if not.

    `groups` are those the beacon draws; `sealed` has each device's sealed commitment.
    """
    # 1
    if not 0 <= item.index < len(groups):
        raise Rejected(Reason.SUM_MISMATCH, f"there is no group {item.index}")
    group = groups[item.index]
    survivors = list(item.survivors)
    if survivors != sorted(set(survivors)) or not set(survivors) <= set(group.devices):
        raise Rejected(Reason.SUM_MISMATCH, "the survivors are not distinct members of the group")
    if len(survivors) < group.threshold:
        raise Rejected(
            Reason.SUM_MISMATCH, f"{len(survivors)} survivors, {group.threshold} are needed"
        )
    # 2
    weights = [group.device_to_weight[device] for device in survivors]
    total = commitments.add([sealed[device] for device in survivors], weights)
    try:
        commitments.check_opening(total, item.opening)
    except Rejected as rejection:
        raise Rejected(Reason.SUM_MISMATCH, rejection.detail) from rejection
    return tuple(map(Member, survivors, weights))


def merge_sums(
    groups: Sequence[Group], checked: Sequence[GroupSum], commitments: Commitments
) -> tuple[GlobalModel, Sum]:
    """The global model, and the record's opening of it, from sums that were checked."""
    indices = [item.index for item in checked]
    if not indices or indices != sorted(set(indices)):
        raise Rejected(Reason.SUM_MISMATCH, "no sums, or not one for each group")
    opening = commitments.add_openings([item.opening for item in checked], [1] * len(checked))
    summands = sorted(
        (
            Summand(device, groups[item.index].device_to_weight[device])
            for item in checked
            for device in item.survivors
        ),
        key=lambda summand: summand.device,
    )
    weight = sum(summand.weight for summand in summands)
    return GlobalModel(opening.theta, weight), Sum(tuple(summands), opening.blinding)
