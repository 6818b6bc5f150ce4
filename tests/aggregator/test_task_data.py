"""Data sets of a task: the demonstration set, and files that must fit the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.aggregator.round_kit import SPEC

from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.task_data import load_task_data

GENERATOR = np.random.default_rng(2)
FEATURES, CLASSES = SPEC.shape.features, SPEC.shape.classes
INPUTS = GENERATOR.integers(0, 256, (12, FEATURES)).astype(np.uint8)
LABELS = GENERATOR.integers(0, CLASSES, 12)


def parameters(**changes: Any) -> dict[str, Any]:
    found = {
        "pool": "pool.npz",
        "widths": list(SPEC.shape.widths),
        "shifts": list(SPEC.shape.shifts),
        "bias_bits": SPEC.shape.bias_bits,
        "input_exponent": SPEC.input_exponent,
        "weight_exponents": list(SPEC.weight_exponents),
    }
    return {key: value for key, value in (found | changes).items() if value is not None}


def refused(folder: Path, dataset: str, given: dict[str, Any]) -> str:
    with pytest.raises(Fatal) as caught:
        load_task_data(dataset, given, folder)
    assert caught.value.exit_code is ExitCode.CONFIG
    return str(caught.value)


def test_files_are_read_from_the_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "pool.npz", inputs=INPUTS, labels=LABELS)
    np.savez(tmp_path / "rest.npz", inputs=INPUTS[:3], labels=LABELS[:3])
    data = load_task_data("npz", parameters(holdout="rest.npz"), tmp_path)
    assert data.spec == SPEC
    assert np.array_equal(data.pool.inputs, INPUTS)
    assert data.pool.labels.dtype == np.uint8
    assert data.holdout is not None
    assert data.holdout.size == 3
    assert load_task_data("npz", parameters(), tmp_path).holdout is None


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (INPUTS.astype(np.int64), LABELS),
        (INPUTS[:, :-1], LABELS),
        (INPUTS.reshape(-1), LABELS),
        (INPUTS, LABELS[:-1]),
        (INPUTS, LABELS * 0 - 1),
        (INPUTS, LABELS * 0 + CLASSES),
        (INPUTS[:0], LABELS[:0]),
    ],
    ids=["type", "width", "flat", "length", "negative", "beyond", "empty"],
)
def test_files_that_do_not_fit_the_model_are_described(
    tmp_path: Path, inputs: Any, labels: Any
) -> None:
    np.savez(tmp_path / "pool.npz", inputs=inputs, labels=labels)
    said = refused(tmp_path, "npz", parameters())
    assert f"expected inputs uint8 [M, {FEATURES}]" in said
    assert "pool.npz" in said


@pytest.mark.parametrize("damage", ["missing", "junk", "no labels"])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "pool.npz"
    if damage == "junk":
        path.write_bytes(b"junk")
    if damage == "no labels":
        np.savez(path, inputs=INPUTS)
    assert f"cannot read {path}" in refused(tmp_path, "npz", parameters())


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "pool.npz", inputs=np.array([{"a": 1}], dtype=object), labels=LABELS)
    assert "cannot read" in refused(tmp_path, "npz", parameters())


def test_all_wrong_parameters_are_named_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, "npz", parameters(widths=None, shifts="1", colour="red"))
    for problem in ("widths", "shifts", "colour"):
        assert problem in said
    said = refused(tmp_path, "digits", {"seed": "x", "alpha": 1})
    assert "seed" in said
    assert "alpha" in said


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    assert "'mnist' is not one of digits, npz" in refused(tmp_path, "mnist", {})


def test_digits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, same, other = (
        load_task_data("digits", {"seed": seed}, tmp_path).pool.digest for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other
