"""Who leads, and what the global model is: exact functions of what was accepted."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpot.aggregate import MAX_TOTAL_WEIGHT, GlobalModel, decode_global_model
from zkpot.election import rank
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, digest
from zkpot.model import Shape
from zkpot.opening import decode_opening, encode_opening
from zkpot.proof.system import ModelOpening

BEACON = Beacon(digest("test-beacon"))
SHAPE = Shape((2, 3), (), 8)

devices = st.binary(min_size=20, max_size=20).map(DeviceId)
counts = st.dictionaries(devices, st.integers(0, 4), min_size=1, max_size=8)


@given(device_to_count=counts)
def test_the_highest_count_leads_and_ties_go_to_the_lowest_hash(
    device_to_count: dict[DeviceId, int],
) -> None:
    ranked = rank(BEACON, device_to_count)
    assert sorted(ranked) == sorted(device_to_count)
    for first, second in pairwise(ranked):
        higher, lower = device_to_count[first], device_to_count[second]
        assert higher >= lower
        if higher == lower:
            assert digest("election", BEACON, first) < digest("election", BEACON, second)
    backwards = dict(reversed(list(device_to_count.items())))
    assert rank(BEACON, backwards) == ranked


def test_a_tie_is_broken_by_the_beacon() -> None:
    tied = {DeviceId(bytes([n]) * 20): 5 for n in range(4)}
    leaders = {rank(Beacon(digest("b", bytes([n]))), tied)[0] for n in range(40)}
    assert leaders == set(tied)


def test_nobody_leads_nobody() -> None:
    assert rank(BEACON, {}) == ()


sums = st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=9, max_size=9)
weights = st.integers(1, MAX_TOTAL_WEIGHT) | st.integers(1, 6)


@given(total=sums, weight=weights)
def test_the_mean_is_rounded_half_to_even_exactly(total: list[int], weight: int) -> None:
    model = GlobalModel(np.array(total, np.int64), weight)
    assert model.theta.tolist() == [round(Fraction(value, weight)) for value in total]
    assert model.mean.tolist() == [value / weight for value in total]
    assert decode_global_model(SHAPE, model.encode()).encode() == model.encode()


@pytest.mark.parametrize(
    ("total", "weight", "mean"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (-5, 2, -2), (7, 4, 2), (9, 6, 2)],
)
def test_halves_go_to_the_even_neighbour(total: int, weight: int, mean: int) -> None:
    assert GlobalModel(np.array([total]), weight).theta.tolist() == [mean]


@pytest.mark.parametrize("value", [2**31, -(2**31)])
def test_a_sum_that_reaches_its_limit_is_not_written(value: int) -> None:
    with pytest.raises(Rejected) as caught:
        GlobalModel(np.array([value]), 1).encode()
    assert caught.value.reason is Reason.OUT_OF_RANGE


@pytest.mark.parametrize("weight", [0, -1, MAX_TOTAL_WEIGHT + 1])
def test_a_weight_out_of_range_is_not_written(weight: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        GlobalModel(np.zeros(9, np.int64), weight).encode()


@pytest.mark.parametrize("parameters", [0, 8, 10])
def test_a_model_of_another_shape_is_refused(parameters: int) -> None:
    data = GlobalModel(np.zeros(parameters, np.int64), 1).encode()
    with pytest.raises(Rejected) as caught:
        decode_global_model(SHAPE, data)
    assert caught.value.reason is Reason.MODEL_MISMATCH


@given(data=st.binary(max_size=100))
def test_random_bytes_are_neither_model_nor_opening(data: bytes) -> None:
    with pytest.raises(Rejected):
        decode_global_model(SHAPE, data)
    with pytest.raises(Rejected) as caught:
        decode_opening(SHAPE, data)
    assert caught.value.reason is Reason.OPENING_INVALID


@given(theta=sums, blinding=st.binary(max_size=64))
def test_an_opening_survives_its_bytes(theta: list[int], blinding: bytes) -> None:
    found = decode_opening(SHAPE, encode_opening(ModelOpening(np.array(theta), blinding)))
    assert (found.theta.tolist(), found.blinding) == (theta, blinding)
    assert found.theta.dtype == np.int64


@pytest.mark.parametrize("parameters", [0, 8, 10])
def test_an_opening_of_another_shape_is_refused(parameters: int) -> None:
    data = encode_opening(ModelOpening(np.zeros(parameters, np.int64), b""))
    with pytest.raises(Rejected) as caught:
        decode_opening(SHAPE, data)
    assert caught.value.reason is Reason.OPENING_INVALID


def test_an_opening_does_not_show_itself() -> None:
    secret = "7" * 18  # longer than any address
    assert secret not in repr(ModelOpening(np.array([int(secret)]), secret.encode()))
