"""A sum that is not the sum of exactly the survivors' committed models is caught."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from tests.secure.kit import (
    OPERATOR,
    World,
    advance_to,
    commitments,
    finish,
    real_openings,
    small_world,
    with_opening,
)

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, digest
from zkpot.proof.system import ModelOpening
from zkpot.secure.exchange import Dealing, KeyList, SealedRelease, open_release, seal_release
from zkpot.secure.member import deal
from zkpot.secure.session import Step
from zkpot.secure.states import Advertised, Dealt
from zkpot.secure.sums import GroupSum, check_group_sum
from zkpot.secure.unmask import DealerFailed, unmask


def check(world: World, found: GroupSum) -> None:
    sealed = {device: commitments().commit(own.opening) for device, own in world.owns.items()}
    members = check_group_sum([world.group], found, sealed, commitments())
    assert tuple(member.device for member in members) == found.survivors


def refused(world: World, found: GroupSum) -> None:
    with pytest.raises(Rejected) as caught:
        check(world, found)
    assert caught.value.reason is Reason.SUM_MISMATCH


def test_an_honest_sum_passes_with_and_without_dropouts() -> None:
    world = small_world(7)
    check(world, finish(world))
    check(world, finish(world, {Step.INPUTS: world.group.devices[:2]}))
    check(world, finish(world, {Step.SHARES: world.group.devices[5:]}))


@pytest.mark.parametrize("change", ["one weight", "blinding", "another model", "sign"])
def test_a_device_that_masks_another_vector_than_it_committed_to(change: str) -> None:
    world = small_world()
    liar = world.group.devices[2]
    honest = world.owns[liar].opening
    theta, blinding = honest.theta.copy(), honest.blinding
    if change == "one weight":
        theta[7] += 1
    elif change == "blinding":
        blinding = commitments().random_blinding()
    elif change == "another model":
        theta = real_openings(1, seed=77)[0].theta
    else:
        theta = -theta
    refused(world, finish(with_opening(world, liar, ModelOpening(theta, blinding))))


def test_a_device_whose_parameters_only_match_modulo_2_32() -> None:
    world = small_world()
    liar = world.group.devices[0]
    theta = world.owns[liar].opening.theta.copy()
    theta[0] += 1 << 32
    lying = with_opening(world, liar, ModelOpening(theta, world.owns[liar].opening.blinding))
    check(world, finish(lying))  # it is the same vector: there is nothing to gain


def test_a_server_that_alters_drops_or_adds_a_vector() -> None:
    world = small_world()
    found = finish(world)
    altered = found.theta_sum.copy()
    altered[3] -= 1
    refused(world, replace(found, theta_sum=altered))
    refused(world, replace(found, survivors=found.survivors[1:]))
    fewer = finish(world, {Step.INPUTS: world.group.devices[:1]})
    refused(world, replace(fewer, survivors=world.group.devices))
    added = found.theta_sum + real_openings(1, seed=5)[0].theta
    refused(world, replace(found, theta_sum=added))
    twice = found.theta_sum + world.owns[found.survivors[0]].opening.theta
    refused(world, replace(found, theta_sum=twice))
    refused(world, replace(found, blinding=commitments().random_blinding()))


def test_a_sum_of_other_survivors_than_the_group_allows() -> None:
    world = small_world()
    found = finish(world)
    outsider = DeviceId(bytes(20))
    for survivors in (
        found.survivors[::-1],
        (*found.survivors[:-1], found.survivors[-2]),
        found.survivors[: world.group.threshold - 1],
        tuple(sorted((*found.survivors[1:], outsider))),
    ):
        refused(world, replace(found, survivors=survivors))
    refused(world, replace(found, index=1))


def test_a_server_that_swaps_a_masked_vector_gets_a_sum_that_is_refused() -> None:
    world = advance_to(small_world(), Step.DONE)
    device = world.group.devices[0]
    words = np.frombuffer(world.inputs[device].theta, "<u4").copy()
    words[0] += 1
    other = replace(world.inputs[device], theta=words.tobytes())
    refused(world, unmask(world.session, world.lengths, {**world.inputs, device: other}))


def test_a_session_is_not_unmasked_early() -> None:
    world = advance_to(small_world(), Step.RELEASES)
    with pytest.raises(Rejected) as caught:
        unmask(world.session, world.lengths, world.inputs)
    assert caught.value.reason is Reason.OUT_OF_PHASE


@pytest.mark.parametrize("secret", ["seed", "mask key"])
def test_a_dealer_that_deals_another_secret_is_named(secret: str) -> None:
    """Its shares hash to what it announced, but they are of a secret it did not announce."""
    world = advance_to(small_world(6), Step.SHARES)
    liar = world.group.devices[1]
    state, dealing = world.states[liar], world.answers[liar]
    assert isinstance(state, Dealt)
    assert isinstance(dealing, Dealing)
    if secret == "seed":
        dealing = replace(dealing, seed=digest("another"))
    else:
        false = Advertised(replace(state.seat, answered=()), state.channel, bytes(32))
        keys = KeyList(world.group.digest, state.keys)
        dealing = deal(false, keys, world.public_keys).message
    world = replace(world, answers={**world.answers, liar: dealing})
    absent = [liar] if secret == "mask key" else []
    with pytest.raises(DealerFailed) as failed:
        finish(world, {Step.INPUTS: absent})
    assert failed.value.device == liar
    assert failed.value.reason is Reason.DEALING_FALSE


def test_a_dealer_whose_shares_do_not_open_fails_its_group_and_is_not_named() -> None:
    """Who should release them may lie as well: see docs/privacy.md."""
    world = advance_to(small_world(6), Step.SHARES)
    liar = world.group.devices[0]
    dealing = world.answers[liar]
    assert isinstance(dealing, Dealing)
    for number, fails in ((1, False), (2, True)):
        shares = tuple(
            replace(each, sealed=bytes(len(each.sealed))) if 0 < place <= number else each
            for place, each in enumerate(dealing.shares)
        )
        spoilt = replace(world, answers={**world.answers, liar: replace(dealing, shares=shares)})
        if not fails:
            check(spoilt, finish(spoilt))
            continue
        with pytest.raises(Rejected, match="good shares") as caught:
            finish(spoilt)
        assert not isinstance(caught.value, DealerFailed)


def test_false_shares_are_left_out_while_enough_good_ones_are_there() -> None:
    world = advance_to(small_world(7), Step.RELEASES)
    first, second, third = world.group.devices[:3]
    answers = dict(world.answers)

    def change(device: DeviceId, *, drop: bool) -> None:
        sealed = answers[device]
        assert isinstance(sealed, SealedRelease)
        release = open_release(OPERATOR, sealed)
        false = tuple(replace(item, share=bytes(32)) for item in release.shares)
        changed = replace(release, shares=() if drop else false)
        answers[device] = seal_release(OPERATOR.box_key, changed)

    change(first, drop=False)
    change(second, drop=False)
    check(world, finish(replace(world, answers=answers)))
    change(third, drop=True)
    with pytest.raises(Rejected, match="good shares") as caught:
        finish(replace(world, answers=answers))
    assert caught.value.reason is Reason.SHARE_INVALID
