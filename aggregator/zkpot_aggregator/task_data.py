"""Where a task's model spec and test pool come from: the demonstration set or a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zkpot.batch import Batch
from zkpot.config import parse_config
from zkpot.datasets import DIGITS_SPEC, split_digits
from zkpot.errors import ExitCode, Fatal
from zkpot.model import ModelSpec, Shape


@dataclass(frozen=True, eq=False)
class TaskData:
    """The model spec, the samples of the test pool, and a holdout that is never revealed."""

    spec: ModelSpec
    pool: Batch
    holdout: Batch | None


@dataclass(frozen=True)
class _Digits:
    """Parameters of `dataset = "digits"`."""

    seed: int = 0


@dataclass(frozen=True)
class _Npz:
    """Parameters of `dataset = "npz"`: files with `inputs` uint8 [M, features] and `labels`."""

    pool: Path
    widths: tuple[int, ...]
    shifts: tuple[int, ...]
    bias_bits: int
    input_exponent: int
    weight_exponents: tuple[int, ...]
    holdout: Path | None = None


def load_task_data(dataset: str, parameters: Mapping[str, Any], folder: Path) -> TaskData:
    """Raises `Fatal` (CONFIG) for an unknown data set or parameters that do not fit."""
    where = f"task.dataset_parameters of {dataset!r}"
    if dataset == "digits":
        digits = parse_config(_Digits, parameters, folder, where)
        parts = split_digits(1, 1.0, digits.seed)
        return TaskData(DIGITS_SPEC, parts.pool, parts.holdout)
    if dataset == "npz":
        npz = parse_config(_Npz, parameters, folder, where)
        spec = ModelSpec(
            Shape(npz.widths, npz.shifts, npz.bias_bits), npz.input_exponent, npz.weight_exponents
        )
        holdout = None if npz.holdout is None else _read(npz.holdout, spec.shape)
        return TaskData(spec, _read(npz.pool, spec.shape), holdout)
    raise Fatal(ExitCode.CONFIG, f"task.dataset: {dataset!r} is not one of digits, npz")


def _read(path: Path, shape: Shape) -> Batch:
    try:
        with np.load(path, allow_pickle=False) as file:
            inputs, labels = file["inputs"], file["labels"]
    except (OSError, ValueError, KeyError) as error:
        raise Fatal(ExitCode.CONFIG, f"cannot read {path}: {error}") from error
    fits = (
        inputs.dtype == np.uint8
        and inputs.ndim == 2
        and inputs.shape[1] == shape.features
        and labels.shape == inputs.shape[:1]
        and labels.size
        and 0 <= labels.min() <= labels.max() < shape.classes
    )
    if not fits:
        raise Fatal(
            ExitCode.CONFIG,
            f"{path}: expected inputs uint8 [M, {shape.features}] and labels below "
            f"{shape.classes}, found {inputs.dtype} {inputs.shape} and {labels.shape}",
        )
    return Batch(inputs, labels.astype(np.uint8))
