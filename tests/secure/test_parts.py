"""Groups, masks and shares on their own."""

import hashlib
import json
import os
from itertools import combinations

import numpy as np
import pytest
from Crypto.Cipher import ChaCha20
from hypothesis import given
from hypothesis import strategies as st
from tests.secure import vectors
from tests.secure.kit import BEACON, ROUND, TASK, key, make_owns, one_group, random_scalars

from zkpot.aggregation import MAX_GROUP_SIZE
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, digest
from zkpot.proof.system import ModelOpening
from zkpot.secure.groups import (
    MAX_WEIGHT,
    Group,
    GroupPolicy,
    Member,
    check_policy,
    draw_groups,
    group_of,
)
from zkpot.secure.mask import RISTRETTO255_ORDER, Lengths, Total, expand
from zkpot.secure.shares import combine, split
from zkpot.secure.states import decode_state
from zkpot.wire.codec import decode, encode


def devices(number: int) -> list[DeviceId]:
    return [DeviceId(hashlib.sha1(bytes([n % 256, n // 256])).digest()) for n in range(number)]  # noqa: S324 - names


# --- groups -----------------------------------------------------------------------------------


@given(st.integers(5, 300), st.integers(5, 64), st.binary(min_size=32, max_size=32))
def test_groups_are_disjoint_even_and_drawn_by_the_beacon(
    number: int, size: int, beacon: bytes
) -> None:
    everyone = dict.fromkeys(devices(number), 1)
    groups = draw_groups(TASK, ROUND, Beacon(beacon), list(everyone), everyone, size=size)
    sizes = [len(group.members) for group in groups]
    assert sorted(device for group in groups for device in group.devices) == sorted(everyone)
    assert min(sizes) >= 5
    assert max(sizes) <= max(size, 9)
    assert max(sizes) - min(sizes) <= 1 or size < 9
    backwards = dict(reversed(everyone.items()))
    assert groups == draw_groups(TASK, ROUND, Beacon(beacon), list(backwards), backwards, size=size)
    assert all(3 * group.threshold > 2 * len(group.members) for group in groups)
    assert len({group.digest for group in groups}) == len(groups)
    assert all(group_of(groups, device) == group for group in groups for device in group.devices)


@given(st.integers(100, 200), st.sets(st.integers(0, 99), max_size=60))
def test_who_is_accepted_does_not_draw_again(number: int, refused: set[int]) -> None:
    everyone = devices(number)
    all_groups = draw_groups(TASK, ROUND, BEACON, everyone, dict.fromkeys(everyone, 1))
    accepted = [device for index, device in enumerate(everyone) if index not in refused]
    groups = draw_groups(TASK, ROUND, BEACON, everyone, dict.fromkeys(accepted, 1))
    left = [set(group.devices) & set(accepted) for group in all_groups]
    assert sorted(device for group in groups for device in group.devices) == sorted(accepted)
    assert all(len(group.members) >= 5 for group in groups)
    if all(len(members) >= 5 for members in left):
        assert [set(group.devices) for group in groups] == left
    else:
        assert all(any(members <= set(group.devices) for group in groups) for members in left)


def test_the_largest_group_that_others_join_can_be_written_down() -> None:
    """One of each of three groups is missing, so each is too small and all are joined."""
    everyone = devices(3 * MAX_GROUP_SIZE)
    largest = {"size": MAX_GROUP_SIZE, "minimum": MAX_GROUP_SIZE}
    full = draw_groups(TASK, ROUND, BEACON, everyone, dict.fromkeys(everyone, 1), **largest)
    missing = {group.devices[0] for group in full}
    accepted = dict.fromkeys(set(everyone) - missing, 1)
    (joined,) = draw_groups(TASK, ROUND, BEACON, everyone, accepted, **largest)
    assert len(joined.members) == 3 * (MAX_GROUP_SIZE - 1)
    assert decode(Group, encode(joined), limit=1 << 16) == joined


@pytest.mark.parametrize("weight", [-1, 0, MAX_WEIGHT + 1, 2**63 - 1])
def test_weights_that_no_member_has(weight: int) -> None:
    with pytest.raises(Rejected) as caught:
        Member(devices(1)[0], weight)
    assert caught.value.reason is Reason.OUT_OF_RANGE


def test_another_beacon_draws_other_groups() -> None:
    everyone = devices(64)
    weights = dict.fromkeys(everyone, 1)
    one, other = (
        [group.devices for group in draw_groups(TASK, ROUND, beacon, everyone, weights)]
        for beacon in (BEACON, Beacon(digest("another")))
    )
    assert one != other


def test_too_few_devices_and_devices_of_no_group() -> None:
    everyone = devices(9)
    for sealed, accepted, reason in (
        (everyone, everyone[:4], Reason.GROUP_TOO_SMALL),
        (everyone[1:], everyone, Reason.NOT_COMMITTED),
        ([], [], Reason.GROUP_TOO_SMALL),
    ):
        with pytest.raises(Rejected) as caught:
            draw_groups(TASK, ROUND, BEACON, sealed, dict.fromkeys(accepted, 1))
        assert caught.value.reason is reason
    with pytest.raises(Rejected) as caught:
        group_of((), everyone[0])
    assert caught.value.reason is Reason.NOT_IN_ROSTER
    with pytest.raises(ValueError, match="groups of"):
        draw_groups(TASK, ROUND, BEACON, everyone, dict.fromkeys(everyone, 1), size=4)
    with pytest.raises(Rejected):
        one_group([])


def test_what_a_device_demands_of_its_group() -> None:
    everyone = devices(6)
    group = one_group(everyone)
    owners = {device: f"owner {index % 3}" for index, device in enumerate(everyone)}
    assert check_policy(group, everyone[0], owners, GroupPolicy(6)) == group
    friends = GroupPolicy(owners=frozenset({"owner 1", "owner 2"}))
    assert check_policy(group, everyone[0], owners, friends) == group
    known_keys = GroupPolicy(devices=frozenset(everyone[1:3]))
    assert check_policy(group, everyone[0], {}, known_keys) == group
    alone = {**dict.fromkeys(everyone, "operator"), everyone[0]: "owner 0"}
    for policy, known in (
        (GroupPolicy(7), owners),
        (GroupPolicy(owners=frozenset({"owner 0"})), alone),
        (GroupPolicy(owners=frozenset({"owner 9"})), owners),
        (GroupPolicy(devices=frozenset(devices(7)[6:])), owners),
        (GroupPolicy(devices=frozenset(everyone[:1])), owners),
    ):
        with pytest.raises(Rejected) as caught:
            check_policy(group, everyone[0], known, policy)
        assert caught.value.reason is Reason.POLICY_REFUSED


# --- masks ------------------------------------------------------------------------------------


def test_masks_are_chacha20_as_another_library_has_it() -> None:
    """RFC 8439 starts the stream that encrypts at block 1: PyCryptodome is told to skip one."""
    lengths = Lengths(1000, 3)
    seed = bytes(range(32))
    mask = expand(seed, lengths)
    for domain, found in (
        ("secure-mask-theta", mask.words.tobytes()),
        ("secure-mask-blinding", mask.limbs.tobytes()),
    ):
        cipher = ChaCha20.new(key=digest(domain, seed), nonce=bytes(12))
        cipher.seek(64)
        assert found == cipher.encrypt(bytes(len(found)))


@given(st.integers(0, 2**32), st.integers(1, 10_000), st.integers(0, 6))
def test_masks_come_off_again(seed: int, weight: int, pairs: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = Lengths(17, 2)
    theta = generator.integers(-(2**17), 2**17, 17)
    blinding = random_scalars(2, generator)
    total = Total(lengths)
    total.add_weighted(theta, blinding, weight)
    seeds = [generator.bytes(32) for _ in range(2 * pairs)]
    for index, each in enumerate(seeds):
        (total.add if index % 2 else total.subtract)(expand(each, lengths))
    again = Total(lengths)
    again.add_words(total.theta, total.blinding)
    if pairs:
        assert not np.array_equal(again.centered, theta * weight)
    for index, each in enumerate(seeds):
        (again.subtract if index % 2 else again.add)(expand(each, lengths))
    assert np.array_equal(again.centered, theta * weight)
    expected = [
        int.from_bytes(blinding[at : at + 32], "little") * weight % RISTRETTO255_ORDER
        for at in (0, 32)
    ]
    found = again.blinding
    assert [int.from_bytes(found[at : at + 32], "little") for at in (0, 32)] == expected


def test_vectors_of_another_length() -> None:
    total = Total(Lengths(3, 1))
    for theta, blinding in ((bytes(8), bytes(32)), (bytes(12), bytes(64))):
        with pytest.raises(Rejected):
            total.add_words(theta, blinding)
    for words, scalars in ((2, 1), (3, 2)):
        with pytest.raises(Rejected):
            total.add_weighted(np.zeros(words, np.int64), bytes(32 * scalars), 1)


# --- shares -----------------------------------------------------------------------------------


def test_any_threshold_of_the_shares_give_the_secret_and_fewer_do_not() -> None:
    secret = os.urandom(32)
    shares = split(secret, 4, 6)
    assert all(len(share) == 32 for share in shares)
    points = dict(enumerate(shares, 1))
    for chosen in combinations(points, 4):
        assert combine({point: points[point] for point in chosen}) == secret
    for fewer in combinations(points, 3):
        assert combine({point: points[point] for point in fewer}) != secret
    with pytest.raises(ValueError, match="secret"):
        split(bytes(16), 2, 3)


def test_states_are_read_as_what_they_are_or_not_at_all() -> None:
    with pytest.raises(Rejected):
        decode_state(b"")
    owns = make_owns([ModelOpening(np.zeros(1, np.int64), bytes(32))])
    assert list(owns) == [key(0).id]


@pytest.mark.parametrize(("members", "threshold", "liars"), [(5, 4, 3), (20, 14, 8), (32, 22, 12)])
def test_how_many_must_collude_with_the_aggregator(
    members: int, threshold: int, liars: int
) -> None:
    """The table in docs/privacy.md: two lists find enough signatures from 2t - g liars on."""
    group = one_group(devices(members))
    assert group.threshold == threshold
    assert liars == 2 * threshold - members
    honest = members - (liars - 1)
    assert max(min(a, honest - a) for a in range(honest)) + liars - 1 < threshold


def test_the_vectors_are_what_this_makes() -> None:
    assert json.loads(vectors.FILE.read_text()) == vectors.make()
