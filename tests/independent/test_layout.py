"""Sizes against the formulae of sections 3, 5 and 11, and against what a replay uses."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.accuracy import Samples, replay_accuracy
from zkpot_aggregator.independent.layout import (
    Sizes,
    accuracy_rows,
    accuracy_sizes,
    wellformed_rows,
    wellformed_sizes,
)
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.reduction import reduce_claims
from zkpot_aggregator.independent.replay import Replay
from zkpot_aggregator.independent.shape import Shape, check_samples, checked_shape
from zkpot_aggregator.independent.transcript import Transcript
from zkpot_aggregator.independent.wellformed import replay_wellformed


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    hidden = draw(st.lists(st.integers(1, 9), max_size=3))
    dims = [draw(st.integers(1, 70)), *hidden, draw(st.integers(1, 12))]
    shifts = [draw(st.integers(7, 8)) for _ in hidden]
    return checked_shape(dims, shifts, draw(st.integers(0, 30)))


def slab_ceil(shape: Shape, places: int) -> int:
    return (places + shape.columns - 1) // shape.columns


@given(shapes())
def test_shape(shape: Shape) -> None:
    widths = [2**log for log in shape.logs]
    area = sum(a * b for a, b in pairwise(widths))
    assert all(w // 2 < d <= w for d, w in zip(shape.dims, widths, strict=True))
    assert 6 <= shape.log_columns <= 14
    assert shape.columns >= 4 * sum(widths[1:]) or shape.log_columns == 14
    assert shape.columns**2 >= area or shape.log_columns == 14
    assert 2 * shape.folds in {shape.log_columns - 4, shape.log_columns - 3}
    assert shape.columns >> shape.folds >= 4
    last = shape.layers
    assert shape.bias_row(last) + 1 == shape.commitment_rows
    assert shape.weight_row(1) == 0


@pytest.mark.parametrize(
    ("dims", "log_columns"),
    [
        ([1, 1], 6),
        ([784, 128, 10], 10),
        ([2048, 3, 1], 7),
        ([2049, 3, 1], 8),
        ([2049, 1, 1], 7),
        ([2048, 2, 2], 7),
        ([2**14, 2**10, 2], 13),
        ([2**14, 2**12, 2], 14),
    ],
)
def test_columns(dims: list[int], log_columns: int) -> None:
    shape = checked_shape(dims, [16] * (len(dims) - 2), 4)
    assert shape.log_columns == log_columns
    assert shape.folds == -(-(log_columns - 4) // 2)


@given(shapes(), st.integers(1, 300))
def test_accuracy_rows(shape: Shape, samples: int) -> None:
    rows = accuracy_rows(shape, samples)
    expected = sum(
        slab_ceil(shape, samples << shape.logs[layer]) * (1 + shape.bits[layer])
        for layer in range(1, shape.layers)
    )
    expected += slab_ceil(shape, samples << shape.logs[-1]) * (1 + shape.comparison_bits)
    expected += slab_ceil(shape, samples) * (1 + shape.loser_bits)
    assert rows.total == accuracy_sizes(shape, samples).rows == expected
    assert rows.total > 8


@given(shapes())
def test_wellformed_rows(shape: Shape) -> None:
    layers, total = wellformed_rows(shape)
    weights = [shape.weight_rows(layer) for layer in range(1, shape.layers + 1)]
    assert total == sum(8 * rows + shape.bias_bits + 1 for rows in weights)
    assert [rows.weight_rows for rows in layers] == weights
    assert total == wellformed_sizes(shape).rows > 8


def random_replay(shape: Shape, sizes: Sizes) -> Replay:
    random_ = random.Random(1)
    clear = [random_.randrange(ORDER) for _ in range(sizes.messages)]
    return Replay(shape.columns, sizes, Transcript(b"test"), clear)


@settings(max_examples=25)
@given(shapes(), st.integers(1, 150), st.randoms(use_true_random=False))
def test_accuracy_uses_every_message(shape: Shape, samples: int, random_: random.Random) -> None:
    sizes = accuracy_sizes(shape, samples)
    inputs = random_.randbytes(samples * shape.dims[0])
    labels = bytes(random_.randrange(shape.classes) for _ in range(samples))
    replay = random_replay(shape, sizes)
    replay_accuracy(shape, Samples(inputs, labels, 0), replay)
    check_replay(replay)


@settings(max_examples=25)
@given(shapes())
def test_wellformed_uses_every_message(shape: Shape) -> None:
    replay = random_replay(shape, wellformed_sizes(shape))
    replay_wellformed(shape, replay)
    check_replay(replay)


def check_replay(replay: Replay) -> None:
    reduction = reduce_claims(replay)
    assert replay.sent == replay.sizes.messages
    assert len(replay.products) == replay.sizes.products
    assert {len(column) for column in replay.columns} == {replay.width}
    assert max(reduction.form.linear) < replay.sizes.pads - 1
    used = {entry.column for entries, _ in replay.claims for entry in entries}
    assert used == set(range(len(replay.columns)))


def test_every_row_is_covered() -> None:
    shape = checked_shape([70, 5, 3], [7], 4)
    replay = random_replay(shape, accuracy_sizes(shape, 100))
    replay_accuracy(shape, Samples(bytes(7000), bytes(100), 0), replay)
    rows = reduce_claims(replay).row_to_coefficient
    assert set(rows) == set(range(replay.sizes.rows + shape.commitment_rows))


@pytest.mark.parametrize(
    ("dims", "shifts", "bias_bits"),
    [
        ([], [], 0),
        ([4], [], 0),
        ([1] * 66, [0] * 64, 0),
        ([4, 3], [1], 0),
        ([4, 3, 2], [], 0),
        ([0, 3], [], 0),
        ([4, 0], [], 0),
        ([-4, 3], [], 0),
        ([2**20 + 1, 3], [], 0),
        ([4, 2**14 + 1, 2], [10], 0),
        ([4, 257], [], 0),
        ([4, 3], [], -1),
        ([4, 3], [], 31),
        ([4, 3, 2], [-1], 0),
        ([4, 3, 2], [18], 0),
        ([4, 2**13, 2**13, 2], [0, 0], 0),
        ([2**20, 2**10, 2], [20], 0),
    ],
)
def test_shapes_beyond_the_limits(dims: list[int], shifts: list[int], bias_bits: int) -> None:
    with pytest.raises(Rejected) as rejection:
        checked_shape(dims, shifts, bias_bits)
    assert rejection.value.reason is Reason.PROOF_INVALID


@pytest.mark.parametrize(("dim", "samples"), [(1, 0), (1, 2**16 + 1), (2**16, 2**15 + 1)])
def test_batches_beyond_the_limits(dim: int, samples: int) -> None:
    with pytest.raises(Rejected):
        check_samples(checked_shape([dim, 2], [], 0), samples)


def test_too_many_auxiliary_rows() -> None:
    shape = checked_shape([4, 2**14, 256], [10], 0)
    with pytest.raises(Rejected):
        accuracy_rows(shape, 2**16)
