"""The draw is what the beacon says, never repeats, and the reveal is what was drawn."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocol.rounds import POOL, SPEC, make_samples

from zkpot import merkle
from zkpot.batch import (
    MAX_REVEAL_BYTES,
    Batch,
    Reveal,
    RevealedSample,
    batch_of,
    check_reveal,
    draw,
    make_pool,
    make_reveal,
)
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Digest, digest
from zkpot.wire.codec import decode, encode

SAMPLES = make_samples()
ROOT = merkle.root([sample.leaf for sample in SAMPLES])
DRAWN = [7, 3, 30]
BeaconNumber = st.integers(0, 10_000)


def _beacon(number: int) -> Beacon:
    return Beacon(digest("test-beacon", number.to_bytes(4, "big")))


@settings(max_examples=60)
@given(number=BeaconNumber, size=st.integers(1, 20))
def test_draws_of_a_task_never_repeat_a_sample(number: int, size: int) -> None:
    spent: list[int] = []
    while len(spent) + size <= POOL:
        drawn = draw(_beacon(number + len(spent)), POOL, size, spent)
        assert len(set(drawn)) == size
        assert not set(drawn) & set(spent)
        assert all(0 <= index < POOL for index in drawn)
        spent += drawn
    with pytest.raises(Rejected) as caught:
        draw(_beacon(number), POOL, size, spent)
    assert caught.value.reason is Reason.POOL_EXHAUSTED


@given(number=BeaconNumber, spent=st.sets(st.integers(-3, POOL + 3), max_size=20))
def test_a_draw_is_a_pure_function_of_beacon_and_what_is_left(number: int, spent: set[int]) -> None:
    first = draw(_beacon(number), POOL, 10, spent)
    assert first == draw(_beacon(number), POOL, 10, sorted(spent, reverse=True))
    assert draw(_beacon(number), POOL, 5, spent) == first[:5]


def test_every_sample_is_drawn_about_equally_often() -> None:
    counts = Counter(index for n in range(2000) for index in draw(_beacon(n), 20, 5, ()))
    assert set(counts) == set(range(20))
    deviation = sum((counts[index] - 500) ** 2 / 500 for index in range(20))
    assert deviation < 43.8, "chi-square with 19 degrees of freedom, 0.1 %"


def test_another_beacon_draws_another_batch() -> None:
    assert len({tuple(draw(_beacon(n), POOL, 8, ())) for n in range(200)}) == 200


def _check(data: bytes, indices: list[int] = DRAWN) -> Batch:
    return check_reveal(data, SPEC.shape, ROOT, POOL, indices)


def _reason(data: bytes, indices: list[int] = DRAWN) -> Reason:
    with pytest.raises(Rejected) as caught:
        _check(data, indices)
    return caught.value.reason


def test_an_honest_reveal_is_the_batch_in_its_order() -> None:
    batch = _check(make_reveal(SAMPLES, DRAWN))
    assert batch.inputs.tolist() == [list(SAMPLES[index].inputs) for index in DRAWN]
    assert batch.labels.tolist() == [SAMPLES[index].label for index in DRAWN]
    assert batch.digest == batch_of([SAMPLES[index] for index in DRAWN]).digest


@pytest.mark.parametrize("indices", [[3, 7, 30], [7, 3], [7, 3, 31], [7, 3, 30, 1]])
def test_other_indices_are_refused(indices: list[int]) -> None:
    assert _reason(make_reveal(SAMPLES, DRAWN), indices) is Reason.DRAW_MISMATCH


Bend = Callable[[RevealedSample], RevealedSample]


@pytest.mark.parametrize(
    "bend",
    [
        lambda r: replace(r, sample=replace(r.sample, label=1 - r.sample.label)),
        lambda r: replace(r, sample=replace(r.sample, label=SPEC.shape.classes)),
        lambda r: replace(r, sample=replace(r.sample, salt=bytes(32))),
        lambda r: replace(r, sample=replace(r.sample, inputs=bytes(3))),
        lambda r: replace(r, sample=replace(r.sample, inputs=r.sample.inputs + b"\x00")),
        lambda r: replace(r, sample=replace(r.sample, inputs=r.sample.inputs[:-1])),
        lambda r: replace(r, sample=replace(SAMPLES[0], index=r.sample.index)),
        lambda r: replace(r, path=r.path[:-1]),
        lambda r: replace(r, path=(*r.path, r.path[0])),
        lambda r: replace(r, path=(Digest(bytes(32)), *r.path[1:])),
        lambda r: replace(r, path=()),
    ],
    ids=[
        "label",
        "label out of range",
        "salt",
        "inputs",
        "longer",
        "shorter",
        "another sample",
        "short path",
        "long path",
        "wrong path",
        "no path",
    ],
)
def test_samples_that_are_not_the_pools_are_refused(bend: Bend) -> None:
    reveal = decode(Reveal, make_reveal(SAMPLES, DRAWN), limit=MAX_REVEAL_BYTES)
    first, *rest = reveal.samples
    assert _reason(encode(Reveal((bend(first), *rest)))) is Reason.REVEAL_INVALID


def test_an_index_beyond_the_pool_is_refused() -> None:
    stray = replace(SAMPLES[0], index=POOL)
    reveal = Reveal((RevealedSample(stray, ()),))
    assert _reason(encode(reveal), [POOL]) is Reason.REVEAL_INVALID


@settings(max_examples=100)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_no_reveal(data: bytes) -> None:
    with pytest.raises(Rejected):
        _check(data)


def test_leaves_hide_what_is_not_revealed() -> None:
    """Two samples alike in everything but the salt have different leaves."""
    inputs, labels = np.zeros((2, 3), np.uint8), np.zeros(2, np.uint8)
    first, second = make_pool(inputs, labels, [bytes(32), b"\x01" * 32])
    assert first.leaf != replace(second, index=0).leaf


def test_the_digest_names_shape_and_order() -> None:
    flat = np.arange(12, dtype=np.uint8)
    wide = Batch(flat.reshape(3, 4), np.zeros(3, np.uint8))
    tall = Batch(flat.reshape(4, 3), np.zeros(4, np.uint8))
    swapped = Batch(wide.inputs[::-1].copy(), wide.labels)
    assert len({wide.digest, tall.digest, swapped.digest}) == 3


def test_a_pool_needs_one_salt_per_sample() -> None:
    with pytest.raises(ValueError, match="zip"):
        make_pool(np.zeros((2, 3), np.uint8), np.zeros(2, np.uint8), [bytes(32)])
