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


def play(game: int, liars: Collection[DeviceId]) -> list[Strikes]:
    """Round after round in groups of four, until all liars are out; what was kept after each."""
    strikes, kept = Strikes(), list[Strikes]()
    for number in range(1, ROUNDS + 1):
        inside = list(strikes.without(ROSTER).public_keys)
        beacon = Beacon(digest("strikes-beacon", bytes([game, number])))
        weights = dict.fromkeys(inside, 1)
        task = TaskId(digest("strikes-task"))
        groups = draw_groups(task, Round(number), beacon, inside, weights, size=4, minimum=3)
        for group in groups:
            spoilt = set(liars) & set(group.devices)
            strikes = strikes.count(*((group.devices, ()) if spoilt else ((), group.devices)))
        strikes = strikes.judge(DEVICES, MINIMUM)
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
            for group in draw_groups(
                task, Round(number), beacon, inside, weights, size=4, minimum=3
            ):
                spoilt = victim in group.devices and set(liars) & set(group.devices)
                strikes = strikes.count(*((group.devices, ()) if spoilt else ((), group.devices)))
            strikes = strikes.judge(DEVICES, MINIMUM)
            assert number < ROUNDS
        rounds.append(number)
        assert strikes.out == (victim,)
    assert min(rounds) >= LIMIT


def test_a_named_liar_needs_no_company() -> None:
    strikes = Strikes()
    for _ in range(LIMIT):
        assert not strikes.judge(DEVICES, MINIMUM).out
        strikes = strikes.count([DEVICES[0]], [])
    assert strikes.judge(DEVICES, MINIMUM).out == (DEVICES[0],)


def test_a_good_sum_clears_and_a_strike_is_counted() -> None:
    strikes = Strikes().count(DEVICES[:3], []).count(DEVICES[:2], DEVICES[2:4])
    assert {each.device: each.number for each in strikes.counts} == dict.fromkeys(DEVICES[:2], 2)
    assert decode(Strikes, encode(strikes), limit=1 << 16) == strikes


def test_strikes_that_all_have_in_common_say_nothing() -> None:
    strikes = Strikes()
    for _ in range(10 * LIMIT):
        strikes = strikes.count(DEVICES, [])
    assert strikes.judge(DEVICES, MINIMUM) == strikes


def test_several_at_the_top_go_together_but_later() -> None:
    strikes = Strikes(tuple(Count(device, SHARED - 1) for device in sorted(DEVICES[:2])))
    assert strikes.judge(DEVICES, MINIMUM) == strikes
    strikes = strikes.count(DEVICES[:2], [])
    assert strikes.judge(DEVICES, MINIMUM).out == tuple(sorted(DEVICES[:2]))


def test_nobody_goes_if_too_few_would_stay() -> None:
    strikes = Strikes((Count(DEVICES[0], LIMIT),))
    assert strikes.judge(DEVICES, len(DEVICES)) == strikes
    assert strikes.judge(DEVICES, len(DEVICES) - 1).out == (DEVICES[0],)


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from(DEVICES)), st.sets(st.sampled_from(DEVICES))),
        max_size=20,
    ),
    st.integers(1, 12),
)
def test_enough_always_stay_and_nobody_comes_back(
    rounds: list[tuple[set[DeviceId], set[DeviceId]]], minimum: int
) -> None:
    strikes = Strikes()
    for suspects, cleared in rounds:
        before = set(strikes.out)
        strikes = strikes.count(suspects, cleared).judge(DEVICES, minimum)
        assert before <= set(strikes.out)
        assert len(strikes.without(ROSTER).entries) >= minimum
