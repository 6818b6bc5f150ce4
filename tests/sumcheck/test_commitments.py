"""Sums of commitments open to the sums of their openings, and to nothing else."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sumcheck.conftest import BATCH, SMALL, random_theta

from zkpot.errors import Reason, Rejected
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.proof.system import ModelOpening

pytestmark = pytest.mark.prover

SCHEME = SumcheckSystem(SMALL, BATCH).commitments
SCALAR = 32
ORDER = 2**252 + 27742317777372353535851937790883648493
BLINDINGS = 2000

weight_lists = st.lists(st.integers(1, 10_000), min_size=1, max_size=6)


def openings(number: int, seed: int) -> list[ModelOpening]:
    generator = np.random.default_rng(seed)
    return [
        ModelOpening(random_theta(SMALL, generator), SCHEME.random_blinding())
        for _ in range(number)
    ]


def refuse(commitment: bytes, opening: ModelOpening) -> None:
    with pytest.raises(Rejected) as rejected:
        SCHEME.check_opening(commitment, opening)
    assert rejected.value.reason is Reason.OPENING_INVALID


@settings(max_examples=60)
@given(weights=weight_lists, seed=st.integers(0, 2**32))
def test_a_weighted_sum_opens_to_the_weighted_sum(weights: list[int], seed: int) -> None:
    parts = openings(len(weights), seed)
    total = SCHEME.add([SCHEME.commit(part) for part in parts], weights)
    opening = SCHEME.add_openings(parts, weights)
    expected = sum(w * part.theta for w, part in zip(weights, parts, strict=True))
    assert np.array_equal(opening.theta, expected)
    SCHEME.check_opening(total, opening)


@settings(max_examples=60)
@given(
    weights=weight_lists,
    seed=st.integers(0, 2**32),
    entry=st.integers(0, SMALL.parameters - 1),
    change=st.integers(-(2**40), 2**40).filter(bool),
)
def test_it_opens_to_no_other_model(weights: list[int], seed: int, entry: int, change: int) -> None:
    parts = openings(len(weights), seed)
    total = SCHEME.add([SCHEME.commit(part) for part in parts], weights)
    opening = SCHEME.add_openings(parts, weights)
    theta = opening.theta.copy()
    theta[entry] += change
    refuse(total, ModelOpening(theta, opening.blinding))
    refuse(total, ModelOpening(opening.theta[:-1], opening.blinding))


@settings(max_examples=60)
@given(
    weights=weight_lists,
    seed=st.integers(0, 2**32),
    byte=st.integers(0, len(SCHEME.random_blinding()) - 1),
)
def test_it_opens_with_no_other_blinding(weights: list[int], seed: int, byte: int) -> None:
    parts = openings(len(weights), seed)
    total = SCHEME.add([SCHEME.commit(part) for part in parts], weights)
    opening = SCHEME.add_openings(parts, weights)
    blinding = bytearray(opening.blinding)
    blinding[byte] ^= 1
    for spoilt in (bytes(blinding), parts[0].blinding[:-SCALAR], SCHEME.random_blinding(), b""):
        refuse(total, ModelOpening(opening.theta, spoilt))


@settings(max_examples=40)
@given(weights=st.lists(st.integers(1, 1000), min_size=2, max_size=5), seed=st.integers(0, 2**32))
def test_other_members_or_weights_do_not_open(weights: list[int], seed: int) -> None:
    parts = openings(len(weights), seed)
    commitments = [SCHEME.commit(part) for part in parts]
    opening = SCHEME.add_openings(parts, weights)
    refuse(SCHEME.add(commitments[1:], weights[1:]), opening)
    refuse(SCHEME.add(commitments, [weights[0] + 1, *weights[1:]]), opening)
    refuse(SCHEME.add([commitments[1], *commitments[1:]], weights), opening)
    refuse(commitments[0], opening)


def test_order_does_not_matter_and_doubling_is_adding_twice() -> None:
    first, second = (SCHEME.commit(part) for part in openings(2, 1))
    assert SCHEME.add([first, second], [3, 5]) == SCHEME.add([second, first], [5, 3])
    assert SCHEME.add([first], [2]) == SCHEME.add([first, first], [1, 1])
    assert SCHEME.add([first], [1]) == first


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda c: c[:-1],
        lambda c: c + bytes(32),
        lambda c: b"\xff" * len(c),
        lambda c: b"\x01" + c[1:],
    ],
)
def test_malformed_commitments_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    (part,) = openings(1, 2)
    commitment = SCHEME.commit(part)
    with pytest.raises(Rejected) as rejected:
        SCHEME.add([commitment, spoil(commitment)], [1, 1])
    assert rejected.value.reason is Reason.COMMITMENT_MALFORMED
    refuse(spoil(commitment), part)


@pytest.mark.parametrize(
    ("entry", "value"), [(0, 128), (0, -129), (SMALL.parameters - 1, 1 << 16), (0, 1 << 31)]
)
def test_entries_out_of_bounds_are_not_committed(entry: int, value: int) -> None:
    (part,) = openings(1, 3)
    theta = part.theta.copy()
    theta[entry] = value
    with pytest.raises(Rejected) as rejected:
        SCHEME.commit(ModelOpening(theta, part.blinding))
    assert rejected.value.reason is Reason.OUT_OF_RANGE


def test_no_blinding_is_ever_used_again() -> None:
    scalars = set()
    expected = 0
    for _ in range(BLINDINGS):
        blinding = SCHEME.random_blinding()
        places = range(0, len(blinding) + 1, SCALAR)
        parts = [blinding[start:end] for start, end in pairwise(places)]
        scalars.update(parts)
        expected += len(parts)
    assert len(scalars) == expected
    values = [int.from_bytes(scalar, "little") for scalar in scalars]
    assert 0 < min(values) < ORDER // 4 < 3 * (ORDER // 4) < max(values) < ORDER
