"""Numbers of the report against values from elsewhere."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpot.ids import Round
from zkpot.journal import Journal
from zkpot.timing import note_span, spans
from zkpot_aggregator.demo.run import _overhead
from zkpot_aggregator.report import busy_seconds, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_wilson_interval_is_the_published_one(
    correct: int, total: int, low: float, high: float
) -> None:
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_is_symmetric(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    mirrored = wilson_interval(total - correct, total)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (5, 6)], 3),
        ([(1, 4), (2, 3)], 3),
        ([(2, 5), (1, 3)], 4),
        ([(1, 2), (2, 3)], 2),
        ([(1, 2), (1, 2)], 1),
        ([(4, 4)], 0),
    ],
)
def test_time_that_overlaps_counts_once(
    intervals: list[tuple[float, float]], seconds: float
) -> None:
    assert busy_seconds(intervals) == seconds


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=8))
def test_busy_time_is_the_number_of_busy_seconds(spans_: list[tuple[int, int]]) -> None:
    intervals = [(float(begin), float(begin + length)) for begin, length in spans_]
    marks = range(60)
    busy = sum(any(begin <= a and b <= end for begin, end in intervals) for a, b in pairwise(marks))
    assert busy_seconds(intervals) == busy


def test_overhead_is_what_is_neither_training_nor_proving_nor_verifying(tmp_path: Path) -> None:
    with (
        Journal.open(tmp_path / "aggregator.sqlite") as own,
        Journal.open(tmp_path / "first.sqlite") as first,
        Journal.open(tmp_path / "second.sqlite") as second,
    ):
        note_span(own, Round(1), "phase-committing", 100, 106)
        note_span(own, Round(1), "phase-proving", 106, 120)
        note_span(own, Round(1), "verify", 112, 114)
        note_span(own, Round(2), "phase-committing", 120, 130)
        note_span(
            first, Round(1), "train", 90, 104
        )  # began before the round: only four seconds are in it
        note_span(second, Round(1), "train", 101, 103)
        note_span(first, Round(1), "prove", 107, 113)
        note_span(second, Round(1), "waiting", 100, 120)
        note_span(second, Round(2), "train", 121, 130)
        assert spans(own, 2) == [("phase-committing", 120, 130)]
        assert _overhead(1, own, [first, second]) == pytest.approx(1 - 11 / 20)
        assert _overhead(2, own, [first, second]) == pytest.approx(0.1)
