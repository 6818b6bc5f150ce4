"""Tables of eq against their definition in section 2 of the document."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpot_aggregator.independent.multilinear import (
    ORDER,
    ceil_log,
    dot,
    eq_at,
    eq_table,
    inverse,
    prefix,
)

scalars = st.integers(0, ORDER - 1)
points = st.lists(scalars, max_size=4)


@pytest.mark.parametrize(("value", "log"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10)])
def test_ceil_log(value: int, log: int) -> None:
    assert ceil_log(value) == log


@given(scalars)
def test_inverse(value: int) -> None:
    assert inverse(value) * value % ORDER == (value != 0)


@given(points)
def test_first_coordinate_is_the_most_significant_bit(point: list[int]) -> None:
    table = eq_table(point)
    assert len(table) == 2 ** len(point)
    for index, weight in enumerate(table):
        bits = [index >> place & 1 for place in reversed(range(len(point)))]
        factors = (r if bit else 1 - r for r, bit in zip(point, bits, strict=True))
        assert weight == prod(factors) % ORDER


@given(points)
def test_weights_add_up_to_one(point: list[int]) -> None:
    assert prefix(point, 2 ** len(point)) == 1
    assert prefix(point, 0) == 0


@given(st.lists(st.tuples(scalars, scalars), max_size=4))
def test_eq_at_is_an_inner_product(pairs: list[tuple[int, int]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    assert eq_at(left, right) == dot(eq_table(left), eq_table(right))
