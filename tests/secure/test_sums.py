"""Secure sums are right, equal to plain ones, or not there at all."""

import math
from collections.abc import Iterable

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from tests.secure.kit import (
    World,
    advance,
    begin,
    commitments,
    finish,
    groups_of,
    make_owns,
    one_group,
    real_openings,
    small_world,
)

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.secure.session import Step
from zkpot.secure.sums import (
    GroupSum,
    check_group_sum,
    decode_group_sum,
    encode_group_sum,
    merge_sums,
)

WAITING = [step for step in Step if step is not Step.DONE]


def plain_sum(world: World, survivors: tuple[DeviceId, ...]) -> GroupSum:
    """What the devices would have opened, added up in the clear."""
    opening = commitments().add_openings(
        [world.owns[device].opening for device in survivors],
        [world.group.device_to_weight[device] for device in survivors],
    )
    return GroupSum(world.group.index, survivors, opening.theta, opening.blinding)


def dropped(owns: Iterable[DeviceId], step: Step, percent: int) -> set[DeviceId]:
    """Random devices of the whole fleet."""
    devices = sorted(owns)
    generator = np.random.default_rng([step, percent])
    count = math.floor(len(devices) * percent / 100)
    chosen = generator.choice(len(devices), count, replace=False)
    return {devices[index] for index in chosen}


@pytest.mark.parametrize(("number", "rotating"), [(5, 1), (50, 2), (200, 7)])
def test_survivors_are_summed_or_the_group_fails(number: int, rotating: int) -> None:
    """Of several groups, each case of step and share runs in one of `rotating`, in turn."""
    owns = make_owns(real_openings(number, seed=number))
    groups = groups_of(owns, weights=[1 + index % 7 for index in range(number)])
    assert sorted(device for group in groups for device in group.devices) == sorted(owns)
    cases = [(step, percent) for step in WAITING for percent in (10, 30)] + [(WAITING[-1], 0)]
    outcomes = []
    for group in groups:
        world = begin(group, owns)
        for step in WAITING:
            for case, (when, percent) in enumerate(cases):
                if when is step and case % rotating == group.index % rotating:
                    absent = dropped(owns, step, percent) & set(group.devices)
                    outcomes.append(summed(world, absent))
            world = advance(world)
    assert len(outcomes) >= len(cases)
    assert any(outcomes)


def summed(world: World, absent: set[DeviceId]) -> bool:
    """Whether the group came to a sum when `absent` fell silent; asserts that it was right."""
    step, group = world.session.step, world.group
    if len(group.members) - len(absent) < group.threshold:
        with pytest.raises(Rejected, match="are needed"):
            finish(world, {step: absent})
        return False
    found = finish(world, {step: absent})
    late = step in (Step.CONFIRMATIONS, Step.RELEASES)
    assert found.survivors == tuple(d for d in group.devices if late or d not in absent)
    expected = plain_sum(world, found.survivors)
    assert np.array_equal(found.theta_sum, expected.theta_sum)
    assert found.blinding == expected.blinding
    return True


@pytest.mark.parametrize("step", WAITING)
def test_a_group_below_its_threshold_fails_at_any_step(step: Step) -> None:
    world = small_world(7)
    while world.session.step is not step:
        world = advance(world)
    enough = world.group.devices[world.group.threshold :]
    assert summed(world, set(enough))
    assert not summed(world, {*enough, world.group.devices[0]})


def test_secure_and_plain_sums_make_the_same_model() -> None:
    openings = real_openings(40, seed=9)
    owns = make_owns(openings)
    weights = [index % 100 + 1 for index in range(40)]
    groups = groups_of(owns, weights)
    assert len(groups) == 2
    sums = [decode_group_sum(encode_group_sum(finish(begin(group, owns)))) for group in groups]
    sealed = {device: commitments().commit(own.opening) for device, own in owns.items()}
    for found in sums:
        check_group_sum(groups, found, sealed, commitments())
    model, record_sum = merge_sums(groups, sums, commitments())
    device_to_weight = dict(zip(sorted(owns), weights, strict=True))
    plain = commitments().add_openings(
        [owns[device].opening for device in sorted(owns)], list(device_to_weight.values())
    )
    assert np.array_equal(model.theta_sum, plain.theta)
    assert model.weight == sum(weights)
    assert record_sum.blinding == plain.blinding
    assert {s.device: s.weight for s in record_sum.summands} == device_to_weight


def test_the_largest_parameters_do_not_wrap() -> None:
    openings = real_openings(5)
    for opening in openings:
        opening.theta[:] = [-(2**30) // 5000, 2**30 // 5000] * (len(opening.theta) // 2)
    owns = make_owns(openings)
    found = finish(begin(one_group(owns, [1000] * 5), owns))
    assert np.array_equal(found.theta_sum, 5000 * openings[0].theta)


def test_sums_are_merged_in_order_and_once() -> None:
    world = small_world()
    found = finish(world)
    for sums in ([], [found, found]):
        with pytest.raises(Rejected) as caught:
            merge_sums([world.group], sums, commitments())
        assert caught.value.reason is Reason.SUM_MISMATCH
