"""Strikes over many rounds of really drawn groups: liars go, honest devices stay."""

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from zkpot.ids import Beacon, DeviceId, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.record import Roster, RosterEntry
from zkpot.secure.groups import draw_groups
from zkpot.wire.codec import decode, encode
from zkpot_aggregator.strikes import LIMIT, SHARED, Count, Strikes

KEYS = [KeyPair.from_seed(digest("strikes", bytes([number]))) for number in range(12)]
DEVICES = [key.id for key in KEYS]
ROSTER = Roster.of(RosterEntry(key.public_key, "owner") for key in KEYS)
MINIMUM = 4
ROUNDS = 100


def after_round(strikes: Strikes, spoilt: Collection[Collection[DeviceId]], groups: int) -> Strikes:
    """What is kept after a round with so many groups."""
    return strikes.count(spoilt, any_is_good=len(spoilt) < groups).judge(DEVICES, MINIMUM)


def play(game: int, liars: Collection[DeviceId]) -> list[Strikes]:
    """Round after round in groups of four, until all liars are out; what was kept after each."""
    strikes, kept = Strikes(), list[Strikes]()
    for number in range(1, ROUNDS + 1):
        inside = list(strikes.without(ROSTER).public_keys)
        beacon = Beacon(digest("strikes-beacon", bytes([game, number])))
        weights = dict.fromkeys(inside, 1)
        task = TaskId(digest("strikes-task"))
        groups = draw_groups(task, Round(number), beacon, inside, weights, size=4, minimum=3)
        spoilt = [group.devices for group in groups if set(liars) & set(group.devices)]
        strikes = after_round(strikes, spoilt, len(groups))
        kept.append(strikes)
        if set(liars) <= set(strikes.out):
            break
    return kept


def test_one_that_always_lies_is_soon_alone_and_out() -> None:
    for game in range(200):
        liar = DEVICES[game % 12]
        kept = play(game, [liar])
        assert kept[-1].out == (liar,)
        assert LIMIT <= len(kept) <= SHARED
        assert set(kept[-1].without(ROSTER).public_keys) == set(DEVICES) - {liar}


def test_several_that_always_lie_are_out_too() -> None:
    honest_out = 0
    for game in range(100):
        liars = {DEVICES[game % 12], DEVICES[(game + 5) % 12]}
        kept = play(game, liars)
        assert liars <= set(kept[-1].out)
        assert len(kept) <= 2 * SHARED
        honest_out += len(set(kept[-1].out) - liars)
    assert honest_out <= 3  # of 1,000: chance put them with a liar nine times over


def test_two_who_take_turns_frame_a_third_as_privacy_md_says() -> None:
    """A limit, not a virtue: the one of whom all lies have in common that it was there is out."""
    victim, *liars = DEVICES[:3]
    rounds = []
    for game in range(12):
        strikes, number = Strikes(), 0
        while victim not in strikes.out:
            number += 1
            inside = list(strikes.without(ROSTER).public_keys)
            beacon = Beacon(digest("strikes-frame", bytes([game]) + number.to_bytes(2, "big")))
            task = TaskId(digest("strikes-task"))
            weights = dict.fromkeys(inside, 1)
            groups = draw_groups(task, Round(number), beacon, inside, weights, size=4, minimum=3)
            spoilt = [
                group.devices
                for group in groups
                if victim in group.devices and set(liars) & set(group.devices)
            ]
            strikes = after_round(strikes, spoilt, len(groups))
            assert number < ROUNDS
        rounds.append(number)
        assert strikes.out == (victim,)
    assert (min(rounds), max(rounds)) == (LIMIT, 25)


def test_a_named_liar_needs_no_company() -> None:
    strikes = Strikes()
    for _ in range(LIMIT):
        assert not strikes.out
        strikes = after_round(strikes, [[DEVICES[0]]], groups=1)
    assert strikes.out == (DEVICES[0],)


def test_a_round_with_a_good_sum_clears_all_that_are_not_suspected_again() -> None:
    strikes = after_round(Strikes(), [DEVICES[:5]], groups=2)
    strikes = after_round(strikes, [DEVICES[:2]], groups=2)
    assert {each.device: each.number for each in strikes.counts} == dict.fromkeys(DEVICES[:2], 2)
    assert decode(Strikes, encode(strikes), limit=1 << 16) == strikes


def test_a_liar_cannot_have_one_left_out_that_misses_a_round() -> None:
    """It lies until its victim is missing, and then behaves."""
    victim, others = DEVICES[0], DEVICES[1:]
    for groups in (1, 2):
        strikes = Strikes()
        for _ in range(2 * SHARED):
            strikes = after_round(strikes, [DEVICES[:6]], groups)
            strikes = after_round(strikes, [], groups)
        assert not strikes.out
        for _ in range(SHARED - 1):
            strikes = after_round(strikes, [[victim, *others[:5]]], groups)
        strikes = after_round(strikes, [], groups)
        assert strikes == Strikes()


def test_a_lone_group_tells_nothing_of_those_in_it() -> None:
    """Four of twelve are never there: they must not make the others look like liars."""
    strikes = Strikes()
    for _ in range(10 * SHARED):
        strikes = after_round(strikes, [DEVICES[:8]], groups=1)
    assert strikes == Strikes()


@given(st.data())
def test_one_liar_alone_leaves_nobody_out_but_with_itself(data: st.DataObject) -> None:
    """However groups are drawn, whoever is missing, and whenever it lies."""
    liar, *_ = DEVICES
    strikes = Strikes()
    for _ in range(data.draw(st.integers(1, 30))):
        inside = [d for d in DEVICES if d not in strikes.out and data.draw(st.booleans())]
        half = data.draw(st.integers(0, len(inside)))
        drawn = data.draw(st.permutations(inside))
        groups = [group for group in (drawn[:half], drawn[half:]) if group]
        lies = data.draw(st.booleans())
        strikes = after_round(strikes, [g for g in groups if lies and liar in g], len(groups))
        assert not strikes.out or liar in strikes.out


def test_strikes_that_all_have_in_common_say_nothing() -> None:
    strikes = Strikes()
    for _ in range(10 * LIMIT):
        strikes = strikes.count([DEVICES], any_is_good=True)
    assert strikes.judge(DEVICES, MINIMUM) == strikes


def test_several_at_the_top_go_together_but_later() -> None:
    strikes = Strikes(tuple(Count(device, SHARED - 1) for device in sorted(DEVICES[:2])))
    assert strikes.judge(DEVICES, MINIMUM) == strikes
    strikes = strikes.count([DEVICES[:2]], any_is_good=True)
    assert strikes.judge(DEVICES, MINIMUM).out == tuple(sorted(DEVICES[:2]))


def test_nobody_goes_if_too_few_would_stay() -> None:
    strikes = Strikes((Count(DEVICES[0], LIMIT),))
    assert strikes.judge(DEVICES, len(DEVICES)) == strikes
    assert strikes.judge(DEVICES, len(DEVICES) - 1).out == (DEVICES[0],)


@given(
    st.lists(
        st.tuples(st.lists(st.sets(st.sampled_from(DEVICES)), max_size=3), st.booleans()),
        max_size=20,
    ),
    st.integers(1, 12),
)
def test_enough_always_stay_and_nobody_comes_back(
    rounds: list[tuple[list[set[DeviceId]], bool]], minimum: int
) -> None:
    strikes = Strikes()
    for spoilt, any_is_good in rounds:
        before = set(strikes.out)
        strikes = strikes.count(spoilt, any_is_good=any_is_good).judge(DEVICES, minimum)
        assert before <= set(strikes.out)
        assert len(strikes.without(ROSTER).entries) >= minimum
