"""What the aggregator sees says nothing about a model but the sum.

The exact swap test: let two members hold any other two models with the same total. For every
choice of masks in the first world there is exactly one in the second in which the aggregator
sees the same bytes, namely the mask between the two shifted by the difference. As a mask of
a secret seed is uniform (if ChaCha20 is a pseudorandom generator), both worlds give the same
distribution. The masks of the second world are re-derived here and the bytes compared.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from tests.secure.kit import (
    OPERATOR,
    World,
    advance,
    advance_to,
    commitments,
    real_openings,
    small_world,
)

from zkpot.ids import DeviceId
from zkpot.proof.system import ModelOpening
from zkpot.secure.exchange import (
    Delivery,
    SealedRelease,
    ShareKind,
    decode_masked_vector,
    open_release,
)
from zkpot.secure.keys import pair_seed
from zkpot.secure.mask import RISTRETTO255_ORDER, Lengths, Mask, Total, expand
from zkpot.secure.member import mask_input
from zkpot.secure.session import Step
from zkpot.secure.shares import combine, point_of
from zkpot.secure.states import Advertised, Dealt, Masked, MemberState, encode_state
from zkpot.secure.unmask import unmask
from zkpot.wire.codec import encode


def scalars(blinding: bytes) -> list[int]:
    return [int.from_bytes(blinding[at : at + 32], "little") for at in range(0, len(blinding), 32)]


def shifted(mask: Mask, theta: np.ndarray[Any, Any], blinding: list[int]) -> Mask:
    """The one mask that is larger by `theta` modulo 2^32 and by `blinding` modulo the order."""
    words = mask.words + (theta & 0xFFFFFFFF).astype(np.uint32)
    wide = [
        (int.from_bytes(row.tobytes(), "little") + add) % RISTRETTO255_ORDER
        for row, add in zip(mask.limbs, blinding, strict=True)
    ]
    limbs = np.frombuffer(b"".join(each.to_bytes(64, "little") for each in wide), "<u4")
    return Mask(words, limbs.reshape(mask.limbs.shape))


def inputs_of(world: World, delivered: dict[DeviceId, Delivery], expander: Any) -> list[bytes]:
    """The masked inputs of everybody, as bytes, from one set of states."""
    found = []
    for device, state in world.states.items():
        assert isinstance(state, Dealt)
        opening = world.owns[device].opening
        vector = mask_input(state, delivered[device], opening, expander).vector
        assert vector is not None
        found.append(vector)
    return found


@pytest.mark.parametrize("pair", [(0, 1), (4, 2)])
def test_swapping_models_with_the_same_total_changes_nothing_that_is_seen(
    pair: tuple[int, int],
) -> None:
    world = advance_to(small_world(6), Step.SHARES)
    before = world.states
    after = advance(world)
    delivered = {d: m for d, m in after.told.items() if isinstance(m, Delivery)}
    first, second = (world.group.devices[index] for index in pair)
    low, high = sorted((first, second))
    old_low, old_high = world.owns[low].opening, world.owns[high].opening

    # Any other models with the same total, and blindings likewise.
    new_theta = real_openings(1, seed=123)[0].theta
    new_blinding = commitments().random_blinding()
    delta = old_low.theta - new_theta
    gap = [a - b for a, b in zip(scalars(old_low.blinding), scalars(new_blinding), strict=True)]
    other = [a + b for a, b in zip(scalars(old_high.blinding), gap, strict=True)]
    other_blinding = b"".join((s % RISTRETTO255_ORDER).to_bytes(32, "little") for s in other)
    owns = {
        **world.owns,
        low: replace(world.owns[low], opening=ModelOpening(new_theta, new_blinding)),
        high: replace(
            world.owns[high], opening=ModelOpening(old_high.theta + delta, other_blinding)
        ),
    }
    swapped = replace(world, owns=owns)

    # The mask between the two, re-derived: the lower id adds it, the higher subtracts it.
    state = before[low]
    assert isinstance(state, Dealt)
    keys = {item.device: item for item in state.keys}
    between = pair_seed(world.group, state.mask, low, keys[high])

    def rederived(seed: bytes, lengths: Lengths) -> Mask:
        mask = expand(seed, lengths)
        return shifted(mask, delta, gap) if seed == between else mask

    assert inputs_of(swapped, delivered, expand) != inputs_of(world, delivered, expand)
    assert inputs_of(swapped, delivered, rederived) == inputs_of(world, delivered, expand)

    # Nothing else depends on the models, so the rest of the transcript is the same as well;
    # what the aggregator makes of it is the same sum.
    done = advance_to(after, Step.DONE)
    total = commitments().add_openings([own.opening for own in owns.values()], [1] * 6)
    found = unmask(done.session, done.lengths, done.inputs)
    assert np.array_equal(found.theta_sum, total.theta)
    assert found.blinding == total.blinding


def test_a_masked_input_is_not_its_model() -> None:
    """One share of masks taken off is not enough: each input carries a seed of its own."""
    world = advance_to(small_world(6), Step.CONFIRMATIONS)
    for device, masked in world.inputs.items():
        theta = world.owns[device].opening.theta.astype("<i4").tobytes()
        same = np.frombuffer(masked.theta, "<u4") == np.frombuffer(theta, "<u4")
        assert same.mean() < 0.1


def test_a_vector_that_came_too_late_keeps_its_own_mask() -> None:
    """The operator has the vector, and the mask key that was released, but no seed."""
    world = advance_to(small_world(6), Step.SHARES)
    late = world.group.devices[1]
    dealt = world.states[late]
    assert isinstance(dealt, Dealt)
    world = advance(world)
    vector = decode_masked_vector(world.vectors[late])
    done = advance_to(advance(world, absent=(late,)), Step.DONE)
    released = [
        (item.dealer, item.kind, point_of(world.group, each.device), item.share)
        for each in done.session.releases
        for item in each.release.shares
    ]
    assert {kind for dealer, kind, _, _ in released if dealer == late} == {ShareKind.MASK_KEY}
    assert {kind for dealer, kind, _, _ in released if dealer != late} == {ShareKind.SEED}

    shares = {point: share for dealer, _, point, share in released if dealer == late}
    mask_key = combine(dict(sorted(shares.items())[: world.group.threshold]))
    assert mask_key == dealt.mask
    stripped = Total(world.lengths)
    stripped.add_words(vector.theta, vector.blinding)
    for item in done.session.advertisements:
        if item.device != late:
            mask = expand(pair_seed(world.group, mask_key, late, item), world.lengths)
            (stripped.subtract if late < item.device else stripped.add)(mask)
    masked = Total(world.lengths)
    opening = world.owns[late].opening
    masked.add_weighted(opening.theta, opening.blinding, 1)
    masked.add(expand(dealt.seed, world.lengths))
    assert stripped.theta == masked.theta
    assert stripped.blinding == masked.blinding
    assert dealt.seed not in seen_by_the_aggregator(done)


def seen_by_the_aggregator(world: World) -> bytes:
    """Every byte it is sent or sends until the end."""
    seen = seen_on_the_way(world)
    while world.session.step is not Step.DONE:
        world = advance(world)
    return seen + encode(world.session)


def seen_on_the_way(world: World) -> bytes:
    """Every byte that passes the broker until the end."""
    parts = [*map(encode, world.answers.values()), *world.vectors.values()]
    while world.session.step is not Step.DONE:
        world = advance(world)
        parts += [*map(encode, world.answers.values()), *world.vectors.values()]
        parts += [encode(message) for message in world.told.values()]
    return b"".join(parts)


def secrets_of(state: MemberState) -> set[bytes]:
    if isinstance(state, Advertised):
        return {state.channel, state.mask}
    if isinstance(state, Dealt):
        return {state.channel, state.mask, state.seed}
    return set()


def test_no_message_holds_a_model_a_seed_or_a_key() -> None:
    start = small_world(6)
    dealt = advance(start)
    hidden = {s for world in (start, dealt) for st in world.states.values() for s in secrets_of(st)}
    hidden |= {own.opening.blinding[:32] for own in start.owns.values()}
    hidden |= {own.opening.theta.astype("<i4").tobytes()[:32] for own in start.owns.values()}
    hidden |= {bytes(own.key.signing) for own in start.owns.values()}
    hidden |= {bytes(own.key.box) for own in start.owns.values()}
    assert len(hidden) == 6 * 7
    seen = seen_by_the_aggregator(dealt) + b"".join(map(encode, start.answers.values()))
    assert not [secret for secret in hidden if secret in seen]


@pytest.mark.parametrize("dropping", [False, True], ids=["nobody drops", "one drops"])
def test_no_share_can_be_read_on_the_way(*, dropping: bool) -> None:
    """A broker that keeps releases from the aggregator must not know the sum instead of it."""
    masked = advance_to(small_world(6), Step.INPUTS)
    states = masked.states.values()
    shares = {
        share
        for state in states
        if isinstance(state, Masked)
        for each in state.held
        for share in (each.seed, each.mask)
    }
    assert len(shares) == 6 * 6 * 2
    gone = masked.group.devices[:1] if dropping else ()
    world = advance_to(advance(masked, absent=gone), Step.RELEASES)
    seen = seen_on_the_way(masked) + seen_on_the_way(world)
    assert not [share for share in shares if share in seen]
    messages = [answer for answer in world.answers.values() if isinstance(answer, SealedRelease)]
    assert len(messages) == 6 - len(gone)
    for message in messages:
        released = {item.share for item in open_release(OPERATOR, message).shares}
        assert len(released) == 6
        assert released <= shares, "the test looks for the right bytes"


def test_states_forget_secrets_as_soon_as_they_can() -> None:
    world = advance(small_world(6))
    device = world.group.devices[0]
    state = world.states[device]
    assert isinstance(state, Dealt)
    own = secrets_of(state)
    assert all(secret in encode_state(state) for secret in own)
    world = advance(world)
    assert not [secret for secret in own if secret in encode_state(world.states[device])]
    masked = world.states[device]
    assert isinstance(masked, Masked)
    held = {share for each in masked.held for share in (each.seed, each.mask)}
    while world.session.step is not Step.DONE:
        world = advance(world)
    assert not [secret for secret in held if secret in encode_state(world.states[device])]


def test_representations_show_no_secret() -> None:
    world = small_world(5)
    shown: list[str] = []
    hidden: set[bytes] = {own.opening.blinding[:32] for own in world.owns.values()}
    while True:
        things = (world, world.owns, world.states, world.answers, world.inputs)
        shown.extend(repr(thing) for thing in things)
        for message in world.answers.values():
            if isinstance(message, SealedRelease):
                release = open_release(OPERATOR, message)
                shown.append(repr(release))
                hidden |= {item.share for item in release.shares}
        for state in world.states.values():
            hidden |= secrets_of(state)
            if isinstance(state, Masked):
                hidden |= {each.seed for each in state.held} | {each.mask for each in state.held}
        if world.session.step is Step.DONE:
            break
        world = advance(world)
    shown.append(repr(unmask(world.session, world.lengths, world.inputs)))
    text = "".join(shown)
    for secret in hidden:
        assert repr(secret)[2:-1] not in text
        assert secret.hex() not in text
