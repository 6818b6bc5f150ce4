import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot import datasets
from zkpot.batch import Batch
from zkpot.errors import ExitCode, Fatal


def _rows(batch: Batch) -> set[tuple[bytes, int]]:
    return {
        (row.tobytes(), int(label)) for row, label in zip(batch.inputs, batch.labels, strict=True)
    }


def test_digits_are_those_of_scikit_learn() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    inputs, labels = sklearn_datasets.load_digits(return_X_y=True)
    found = datasets.load_digits()
    assert found.inputs.dtype == found.labels.dtype == np.uint8
    assert np.array_equal(found.inputs, inputs)
    assert np.array_equal(found.labels, labels)


def test_missing_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(Fatal, match=r"pip install 'zkpot\[digits\]'") as caught:
        datasets.load_digits()
    assert caught.value.exit_code is ExitCode.DEPENDENCY


def test_scikit_learn_of_another_layout_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Fatal, match="this scikit-learn has no digits") as caught:
        datasets.load_digits()
    assert caught.value.exit_code is ExitCode.DEPENDENCY


def test_digits_split_is_disjoint_and_complete() -> None:
    whole = datasets.load_digits()
    split = datasets.split_digits(3, 0.5, seed=7)
    parts = [*split.devices, split.pool, split.holdout]
    assert [split.pool.size, split.holdout.size] == [500, 297]
    assert sum(part.size for part in parts) == whole.size == 1797
    assert len(_rows(whole)) == whole.size, "distinct rows make sets of rows a fair comparison"
    assert set().union(*map(_rows, parts)) == _rows(whole)


def test_same_seed_same_split() -> None:
    first, second = (datasets.split_digits(4, 0.3, seed=5) for _ in range(2))
    for one, two in zip(
        [*first.devices, first.pool, first.holdout],
        [*second.devices, second.pool, second.holdout],
        strict=True,
    ):
        assert one.digest == two.digest


def test_pool_and_holdout_do_not_depend_on_the_devices() -> None:
    one, other = datasets.split_digits(3, 0.5, seed=1), datasets.split_digits(8, 10.0, seed=1)
    assert (one.pool.digest, one.holdout.digest) == (other.pool.digest, other.holdout.digest)
    assert one.pool.digest != datasets.split_digits(3, 0.5, seed=2).pool.digest


def test_pool_is_pinned_across_library_versions() -> None:
    pool = datasets.split_digits(3, 0.5, seed=0).pool
    assert pool.digest.hex() == "c9b7109d1fde8a7d282b37b3fb7fcc2d3b1e571867241f744069da04b20e9410"


def test_small_alpha_skews_the_classes() -> None:
    def largest_share(alpha: float) -> float:
        parts = datasets.split_digits(3, alpha, seed=3).devices
        counts = np.stack([np.bincount(part.labels, minlength=10) for part in parts])
        return float((counts.max(axis=0) / counts.sum(axis=0)).mean())

    assert largest_share(0.05) > 0.85
    assert largest_share(1000.0) < 0.45


@settings(max_examples=60)
@given(
    count=st.integers(1, 400),
    classes=st.integers(1, 12),
    devices=st.integers(1, 9),
    alpha=st.floats(min_value=0, max_value=1e300, exclude_min=True),
    minimum=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_partition_is_disjoint_complete_and_leaves_nobody_short(
    *, count: int, classes: int, devices: int, alpha: float, minimum: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, count).astype(np.uint8)
    if count < devices * minimum:
        with pytest.raises(ValueError, match="samples"):
            datasets.dirichlet_partition(labels, devices, alpha, seed, minimum)
        return
    parts = datasets.dirichlet_partition(labels, devices, alpha, seed, minimum)
    assert len(parts) == devices
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    assert min(len(part) for part in parts) >= minimum


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_must_be_positive(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        datasets.split_digits(3, alpha, seed=0)


def test_too_many_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="60 devices"):
        datasets.split_digits(60, 0.5, seed=0)


def test_synthetic_streams_differ_but_share_the_problem() -> None:
    first = datasets.synthetic_samples(5, 3, 600, seed=1, stream=0)
    second = datasets.synthetic_samples(5, 3, 600, seed=1, stream=1)
    assert first.inputs.shape == (600, 5)
    assert first.digest != second.digest
    for label in range(3):
        means = [part.inputs[part.labels == label].mean(axis=0) for part in (first, second)]
        assert np.abs(means[0] - means[1]).max() < 12


def test_specs_hold_the_sizes_they_are_named_for() -> None:
    assert datasets.DIGITS_SPEC.shape.widths == (64, 32, 10)
    assert datasets.MNIST_SPEC.shape.widths == (784, 128, 10)
