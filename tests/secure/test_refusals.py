"""What a member and the aggregator refuse, with the reason, and without changing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest

pytest.importorskip("zkpot_prover")

from tests.secure.kit import (
    OPERATOR,
    ROUND,
    World,
    advance,
    advance_to,
    begin,
    finish,
    key,
    make_owns,
    one_group,
    real_openings,
    small_world,
    taken,
)

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Round, digest
from zkpot.keys import seal
from zkpot.secure.exchange import (
    Advertisement,
    Confirmation,
    Confirmations,
    Dealing,
    Delivery,
    FromMember,
    KeyList,
    MaskedInput,
    Release,
    ReleasedShare,
    SealedRelease,
    ShareKind,
    Survivors,
    ToMember,
    decode_masked_vector,
    open_release,
    seal_release,
)
from zkpot.secure.keys import MaskKeys, keys_statement, public_half, survivors_statement
from zkpot.secure.mask import check_lengths
from zkpot.secure.member import advertise, answer
from zkpot.secure.session import Step, close, take_release
from zkpot.secure.states import Masked, encode_state
from zkpot.wire.codec import encode

OTHER = digest("another")


def told(number: int = 6, *, step: Step) -> tuple[World, World]:
    """The world before a step closed, whose states wait for the message, and after it."""
    before = advance_to(small_world(number), step)
    return before, advance(before)


def refuses(
    world: World, message: ToMember, reason: Reason, device: DeviceId | None = None
) -> None:
    """A member refuses the message and would still answer the right one."""
    member = device or world.group.devices[0]
    state = world.states[member]
    kept = encode_state(state)
    with pytest.raises(Rejected) as caught:
        answer(state, message, world.owns[member])
    assert caught.value.reason is reason
    assert encode_state(state) == kept


def released(world: World, device: DeviceId) -> Release:
    """What the operator can read of a member's last answer."""
    message = world.answers[device]
    assert isinstance(message, SealedRelease)
    return open_release(OPERATOR, message)


def server_refuses(world: World, sender: DeviceId, message: FromMember, reason: Reason) -> None:
    with pytest.raises(Rejected) as caught:
        taken(world.session, sender, message, world.public_keys)
    assert caught.value.reason is reason


# --- keys -------------------------------------------------------------------------------------


def bend_keys(
    world: World, change: Callable[[list[Advertisement]], Sequence[Advertisement]]
) -> KeyList:
    honest = cast("KeyList", advance(world).told[world.group.devices[0]])
    return replace(honest, advertisements=tuple(change(list(honest.advertisements))))


def test_a_forged_key() -> None:
    world = small_world()
    forged = MaskKeys.generate()
    victim = world.group.devices[3]
    other_key = key(99)

    def signed_by_another(items: list[Advertisement]) -> list[Advertisement]:
        false = forged.advertise(world.group, other_key)
        items[3] = replace(false, device=victim)
        return items

    def swapped(items: list[Advertisement]) -> list[Advertisement]:
        items[3] = replace(items[3], mask_key=items[2].mask_key)
        return items

    refuses(world, bend_keys(world, signed_by_another), Reason.BAD_SIGNATURE)
    refuses(world, bend_keys(world, swapped), Reason.BAD_SIGNATURE)


def test_a_key_of_low_order() -> None:
    world = small_world()
    owner = world.owns[world.group.devices[1]].key
    from zkpot.secure.keys import keys_statement

    def low(items: list[Advertisement]) -> list[Advertisement]:
        statement = keys_statement(world.group, owner.id, bytes(32), items[1].mask_key)
        items[1] = replace(items[1], channel_key=bytes(32), signature=owner.sign(statement))
        return items

    refuses(world, bend_keys(world, low), Reason.MALFORMED)
    honest = cast("Advertisement", world.answers[owner.id])
    fresh = replace(world.session, advertisements=())
    bent = low([honest, honest])[1]
    server_refuses(replace(world, session=fresh), owner.id, bent, Reason.MALFORMED)


def test_keys_of_another_round_or_group() -> None:
    world = small_world()
    later = replace(world.group, round=Round(ROUND + 1))
    other = replace(world.group, index=1)
    for group in (later, other):
        owner = world.owns[world.group.devices[2]].key
        replayed = MaskKeys.generate().advertise(group, owner)
        relabelled = replace(replayed, group=world.group.digest)
        for item, reason in (
            (replayed, Reason.GROUP_MISMATCH),
            (relabelled, Reason.BAD_SIGNATURE),
        ):

            def replaced(
                items: list[Advertisement], item: Advertisement = item
            ) -> list[Advertisement]:
                return [*items[:2], item, *items[3:]]

            refuses(world, bend_keys(world, replaced), reason)
            server_refuses(world, owner.id, item, reason)


def test_key_lists_that_are_short_doubled_unsorted_or_without_this_member() -> None:
    world = small_world()
    threshold = world.group.threshold
    refuses(world, bend_keys(world, lambda items: items[: threshold - 1]), Reason.GROUP_TOO_SMALL)
    refuses(world, bend_keys(world, lambda items: [*items[:-1], items[0]]), Reason.MALFORMED)
    refuses(world, bend_keys(world, lambda items: items[::-1]), Reason.MALFORMED)
    refuses(world, bend_keys(world, lambda items: items[1:]), Reason.NOT_IN_ROSTER)
    outsider = make_owns(real_openings(7))
    stranger = next(own.key for device, own in outsider.items() if device not in world.owns)
    added = MaskKeys.generate().advertise(world.group, stranger)
    refuses(
        world,
        bend_keys(world, lambda items: sorted([*items, added], key=lambda each: each.device)),
        Reason.NOT_IN_ROSTER,
    )


def test_two_members_that_share_a_key() -> None:
    world = small_world()
    keys = MaskKeys.generate()

    def same(items: list[Advertisement]) -> list[Advertisement]:
        for index in (1, 2):
            items[index] = keys.advertise(world.group, world.owns[items[index].device].key)
        return items

    refuses(world, bend_keys(world, same), Reason.DUPLICATE)


def test_who_repeats_a_key_does_not_spoil_the_list_for_all() -> None:
    """Taken, such an advertisement would end the group: nobody answers a list with a key twice."""
    world = small_world()
    liar, victim = world.group.devices[:2]
    key = world.owns[liar].key
    begun = taken(world.session, victim, world.answers[victim], world.public_keys)
    known = begun.advertisements[0]
    own = MaskKeys.generate()
    channel, mask = public_half(own.channel), public_half(own.mask)
    for pair in ((mask, mask), (known.channel_key, mask), (channel, known.mask_key)):
        statement = keys_statement(world.group, liar, *pair)
        bent = Advertisement(world.group.digest, liar, *pair, key.sign(statement))
        server_refuses(replace(world, session=begun), liar, bent, Reason.DUPLICATE)
    session = begun
    for device in world.group.devices[2:]:
        session = taken(session, device, world.answers[device], world.public_keys)
    assert close(session).members(Step.KEYS) == world.group.devices[1:]


# --- shares -----------------------------------------------------------------------------------


def test_a_share_of_another_group_dealer_or_recipient_does_not_open() -> None:
    before, after = told(6, step=Step.SHARES)
    first, second, third = before.group.devices[:3]
    mine = cast("Delivery", after.told[first])
    yours = cast("Delivery", after.told[second])
    elsewhere = cast("Delivery", told(6, step=Step.SHARES)[1].told[first])
    for other, place in ((yours, 2), (elsewhere, 2), (mine, 3)):
        shares = list(mine.shares)
        shares[2] = replace(shares[2], sealed=other.shares[place].sealed)
        state = answer(
            before.states[first], replace(mine, shares=tuple(shares)), before.owns[first]
        ).state
        held = [each.dealer for each in cast("Masked", state).held]
        assert third not in held
        assert len(held) == 5


def test_a_delivery_to_another_member() -> None:
    """A broker that swaps them must not have honest members mask without any share."""
    before, after = told(6, step=Step.SHARES)
    first, second = before.group.devices[:2]
    refuses(before, after.told[second], Reason.SHARE_INVALID, first)
    answer(before.states[first], after.told[first], before.owns[first])


def test_deliveries_that_are_short_doubled_or_from_strangers() -> None:
    before, after = told(6, step=Step.SHARES)
    first = before.group.devices[0]
    mine = cast("Delivery", after.told[first])
    stranger = replace(mine.shares[1], dealer=DeviceId(bytes([255] * 20)))
    for shares, reason in (
        (mine.shares[: before.group.threshold - 1], Reason.GROUP_TOO_SMALL),
        (mine.shares[1:], Reason.NOT_IN_ROSTER),
        (mine.shares[::-1], Reason.MALFORMED),
        ((mine.shares[0], *mine.shares), Reason.MALFORMED),
        ((*mine.shares, stranger), Reason.NOT_IN_ROSTER),
    ):
        refuses(before, replace(mine, shares=shares), reason)


# --- survivors and release --------------------------------------------------------------------


def test_two_lists_of_survivors() -> None:
    before, after = told(6, step=Step.INPUTS)
    device = before.group.devices[0]
    first = cast("Survivors", after.told[device])
    second = replace(first, devices=first.devices[:-1])
    answer(before.states[device], second, before.owns[device])  # either one alone is fine
    refuses(after, second, Reason.EQUIVOCATION)
    refuses(after, first, Reason.DUPLICATE)


def test_asking_for_both_kinds_of_shares() -> None:
    """The signatures must be over the list this member signed itself."""
    before, after = told(6, step=Step.INPUTS)
    group, device = before.group, before.group.devices[0]
    other = group.devices[:-1]
    statement = survivors_statement(group, other)
    honest = cast("Confirmations", advance(after).told[device])
    forged = tuple(
        replace(item, signature=before.owns[item.device].key.sign(statement))
        for item in honest.confirmations
        if item.device in other
    )
    refuses(after, replace(honest, confirmations=forged), Reason.BAD_SIGNATURE)
    done = advance(after)
    release = released(done, device)
    assert {item.kind for item in release.shares} == {ShareKind.SEED}
    assert [item.dealer for item in release.shares] == list(group.devices)
    refuses(done, replace(honest, confirmations=forged), Reason.EQUIVOCATION)
    refuses(done, honest, Reason.DUPLICATE)


def test_each_dealer_has_one_kind_released() -> None:
    world = advance_to(small_world(7), Step.INPUTS)
    gone = world.group.devices[2]
    world = advance(advance(world, [gone]))
    for device in world.answers:
        shares = released(world, device).shares
        kinds = {item.dealer: item.kind for item in shares}
        assert len(kinds) == len(shares) == 7
        assert {d for d, kind in kinds.items() if kind is ShareKind.MASK_KEY} == {gone}


def test_survivors_that_are_short_strange_or_without_this_member() -> None:
    before, after = told(6, step=Step.INPUTS)
    honest = cast("Survivors", after.told[before.group.devices[0]])
    for devices, reason in (
        (honest.devices[: before.group.threshold - 1], Reason.GROUP_TOO_SMALL),
        (honest.devices[1:], Reason.NOT_IN_ROSTER),
        (honest.devices[::-1], Reason.MALFORMED),
        ((*honest.devices, DeviceId(bytes([255] * 20))), Reason.NOT_IN_ROSTER),
    ):
        refuses(before, replace(honest, devices=devices), reason)


def test_too_few_or_false_confirmations() -> None:
    before, after = told(6, step=Step.CONFIRMATIONS)
    honest = cast("Confirmations", after.told[before.group.devices[0]])
    items, threshold = honest.confirmations, before.group.threshold
    stale = replace(items[0], group=OTHER)
    for confirmations, reason in (
        (items[: threshold - 1], Reason.GROUP_TOO_SMALL),
        (items[:1] * threshold, Reason.MALFORMED),
        ((replace(items[0], signature=items[1].signature), *items[1:]), Reason.BAD_SIGNATURE),
        ((stale, *items[1:]), Reason.GROUP_MISMATCH),
    ):
        refuses(before, replace(honest, confirmations=confirmations), reason)
    answer(
        before.states[items[0].device],
        replace(honest, confirmations=items[:threshold]),
        before.owns[items[0].device],
    )


# --- order and replay -------------------------------------------------------------------------


def test_messages_of_another_round_or_group() -> None:
    for step in (Step.KEYS, Step.SHARES, Step.INPUTS, Step.CONFIRMATIONS):
        before, after = told(5, step=step)
        message = after.told[before.group.devices[0]]
        refuses(before, replace(message, group=OTHER), Reason.GROUP_MISMATCH)


def test_messages_out_of_order() -> None:
    world = small_world(5)
    later = advance_to(world, Step.CONFIRMATIONS)
    device = world.group.devices[0]
    refuses(world, later.told[device], Reason.OUT_OF_PHASE)
    done = advance_to(world, Step.DONE)
    refuses(advance(world), done.told.get(device, later.told[device]), Reason.OUT_OF_PHASE)


def test_a_second_key_list_or_delivery() -> None:
    for step in (Step.KEYS, Step.SHARES):
        before, after = told(6, step=step)
        device = before.group.devices[0]
        gone = before.group.devices[-1]
        other = advance(before, [gone]).told[device]
        refuses(after, other, Reason.EQUIVOCATION)
        refuses(after, after.told[device], Reason.DUPLICATE)
        assert isinstance(other, KeyList | Delivery)


def test_one_place_per_round() -> None:
    world = advance(small_world(5))
    device = world.group.devices[0]
    own, state = world.owns[device].key, world.states[device]
    second = replace(world.group, index=1)
    earlier = replace(world.group, round=Round(ROUND - 1))
    later = replace(world.group, round=Round(ROUND + 1))
    for group, reason in (
        (world.group, Reason.DUPLICATE),
        (second, Reason.EQUIVOCATION),
        (earlier, Reason.STALE_ROUND),
    ):
        with pytest.raises(Rejected) as caught:
            advertise(group, own, state)
        assert caught.value.reason is reason
    advertise(later, own, state)
    with pytest.raises(Rejected) as caught:
        advertise(world.group, key(999), None)
    assert caught.value.reason is Reason.NOT_IN_ROSTER


# --- the aggregator ---------------------------------------------------------------------------


def test_the_first_answer_stands() -> None:
    world = small_world(5)
    device = world.group.devices[0]
    first = world.answers[device]
    later = replace(world, session=taken(world.session, device, first, world.public_keys))
    server_refuses(later, device, first, Reason.DUPLICATE)
    again = MaskKeys.generate().advertise(world.group, world.owns[device].key)
    server_refuses(later, device, again, Reason.EQUIVOCATION)
    server_refuses(world, world.group.devices[1], first, Reason.BAD_SIGNATURE)
    late = advance(advance(world), [])
    server_refuses(late, device, again, Reason.EQUIVOCATION)


def test_answers_that_do_not_fit() -> None:
    keys = small_world(5)
    first, second = keys.group.devices[:2]
    shares = advance(keys)
    server_refuses(keys, first, shares.answers[first], Reason.OUT_OF_PHASE)
    dealing = cast("Dealing", shares.answers[first])
    server_refuses(shares, first, replace(dealing, shares=dealing.shares[1:]), Reason.MALFORMED)
    inputs = advance(shares, [second])
    masked = cast("MaskedInput", inputs.answers[first])
    server_refuses(inputs, first, replace(masked, delivery=OTHER), Reason.MALFORMED)
    lengths, vector = inputs.lengths, decode_masked_vector(inputs.vectors[first])
    check_lengths(lengths, vector)
    for bent in (
        replace(vector, theta=vector.theta[:-4]),
        replace(vector, blinding=vector.blinding + bytes(32)),
    ):
        with pytest.raises(Rejected):
            check_lengths(lengths, bent)
    server_refuses(inputs, first, replace(masked, group=dealing.seed), Reason.GROUP_MISMATCH)
    server_refuses(inputs, second, masked, Reason.NOT_IN_ROSTER)
    confirmations = advance(inputs)
    one, other = confirmations.answers[first], confirmations.answers[inputs.group.devices[2]]
    server_refuses(confirmations, first, other, Reason.BAD_SIGNATURE)
    stolen = replace(cast("Confirmation", other), device=first)
    server_refuses(confirmations, first, stolen, Reason.BAD_SIGNATURE)
    assert one != other
    with pytest.raises(Rejected):
        close(
            replace(confirmations, session=replace(confirmations.session, step=Step.DONE)).session
        )


def test_shares_of_the_wrong_kind_are_not_even_kept() -> None:
    world = advance_to(small_world(5), Step.RELEASES)
    device = world.group.devices[0]
    release = released(world, device)
    state = cast("Masked", advance_to(small_world(5), Step.INPUTS).states[device])
    wrong = [ReleasedShare(h.dealer, ShareKind.MASK_KEY, h.mask) for h in state.held]
    both = replace(release, shares=(*wrong, *release.shares))
    sealed = seal_release(OPERATOR.box_key, both)
    session = take_release(world.session, device, sealed, both)
    assert session.releases[0].release.shares == release.shares
    assert session.members(Step.RELEASES) == (device,)
    assert not session.complete


def test_a_release_that_does_not_open_is_refused_and_a_good_one_is_taken_after_it() -> None:
    world = advance_to(small_world(5), Step.RELEASES)
    device, other = world.group.devices[:2]
    honest = cast("SealedRelease", world.answers[device])
    opened = open_release(OPERATOR, honest)
    content = encode(opened)
    for sealed in (
        seal(key(5).box_key, content),
        honest.sealed[:-1],
        honest.sealed[:20],
        honest.sealed[:-1] + bytes([honest.sealed[-1] ^ 1]),
        b"",
        content,
        seal(OPERATOR.box_key, b"no release"),
        seal(OPERATOR.box_key, content[:-1]),
        seal(OPERATOR.box_key, content + b"\0"),
    ):
        server_refuses(world, device, replace(honest, sealed=sealed), Reason.MALFORMED)
    other_group = seal_release(OPERATOR.box_key, replace(opened, group=OTHER))
    for mixed in (replace(honest, group=OTHER), replace(honest, sealed=other_group.sealed)):
        server_refuses(world, device, mixed, Reason.GROUP_MISMATCH)
    session = taken(world.session, device, honest, world.public_keys)
    assert session.releases[0].release == opened
    # Somebody else's box opens, but what is in it was not dealt to who sends it.
    session = taken(session, other, honest, world.public_keys)
    assert session.releases[1].release.shares == ()


def test_the_same_release_sealed_twice_is_another_answer() -> None:
    """Why a member keeps the bytes that it sent."""
    world = advance_to(small_world(5), Step.RELEASES)
    device = world.group.devices[0]
    first = cast("SealedRelease", world.answers[device])
    later = replace(world, session=taken(world.session, device, first, world.public_keys))
    server_refuses(later, device, first, Reason.DUPLICATE)
    again = seal_release(OPERATOR.box_key, open_release(OPERATOR, first))
    assert again != first
    server_refuses(later, device, again, Reason.EQUIVOCATION)


def test_nothing_in_a_refusal_is_secret() -> None:
    world = small_world(5)
    owns = world.owns
    group = one_group(owns)
    assert finish(begin(group, owns)).survivors == group.devices
    state = world.states[group.devices[0]]
    hidden = encode_state(state)[-80:]
    with pytest.raises(Rejected) as caught:
        answer(state, Survivors(group.digest, ()), owns[group.devices[0]])
    assert hidden.hex() not in str(caught.value)
    assert "Advertised" not in str(caught.value)
