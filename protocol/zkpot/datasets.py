"""Demonstration data: how it is split, and the model specs that suit it.

Both roles must see the same split, because no device may train on the pool or the holdout.
Which samples go where therefore depends on hashes of the seed alone, not on a random
generator whose stream may change with the library's version.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zkpot.batch import Batch
from zkpot.errors import ExitCode, Fatal
from zkpot.ids import digest
from zkpot.model import INPUT_MAX, Int64Array, ModelSpec, Shape, UInt8Array

DIGITS_SAMPLES = 1797
DIGITS_POOL = 500
DIGITS_HOLDOUT = 297
MINIMUM_SAMPLES = 20
"""Fewer samples than this per device do not make a useful update."""

DIGITS_MAX_DEVICES = (DIGITS_SAMPLES - DIGITS_POOL - DIGITS_HOLDOUT) // MINIMUM_SAMPLES

DIGITS_SPEC = ModelSpec(
    shape=Shape(widths=(64, 32, 10), shifts=(0,), bias_bits=17),
    input_exponent=4,
    weight_exponents=(6, 6),
)
"""scikit-learn's digits, pixels 0 to 16: one hidden layer and no shift."""

MNIST_SPEC = ModelSpec(
    shape=Shape(widths=(784, 128, 10), shifts=(8,), bias_bits=18),
    input_exponent=8,
    weight_exponents=(7, 6),
)
"""28 by 28 pixels, 0 to 255; the shift brings the hidden values back to about 16 bits."""


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint parts of one data set: one per device, the test pool, and the final holdout."""

    devices: tuple[Batch, ...]
    pool: Batch
    holdout: Batch


def load_digits() -> Batch:
    """The 1797 digits of scikit-learn: inputs uint8 [1797, 64] from 0 to 16, labels 0 to 9.

    Raises `Fatal` with DEPENDENCY if scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise Fatal(
            ExitCode.DEPENDENCY,
            "the data set 'digits' needs scikit-learn: pip install 'zkpot[digits]'",
        )
    # The package's own file: importing scikit-learn for it takes seconds and 100 MB.
    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    try:
        table = np.loadtxt(path, delimiter=",").astype(np.uint8)
    except OSError as error:
        raise Fatal(
            ExitCode.DEPENDENCY, f"this scikit-learn has no digits at {path}: {error}"
        ) from error
    return Batch(np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1]))


def split_digits(
    devices: int,
    alpha: float,
    seed: int,
    *,
    pool: int = DIGITS_POOL,
    holdout: int = DIGITS_HOLDOUT,
    minimum: int = MINIMUM_SAMPLES,
) -> Split:
    """The digits split as `split` does it."""
    return split(load_digits(), devices, alpha, seed, pool=pool, holdout=holdout, minimum=minimum)


def split(
    samples: Batch,
    devices: int,
    alpha: float,
    seed: int,
    *,
    pool: int,
    holdout: int,
    minimum: int = MINIMUM_SAMPLES,
) -> Split:
    """Sets `pool` and `holdout` samples aside and divides the rest by Dirichlet(`alpha`).

    Pool and holdout depend on `seed` and the sizes only, not on devices or alpha. Raises
    ValueError if the samples do not suffice for `minimum` per device.
    """
    order = _order(samples.size, seed)
    kept = order[pool + holdout :]
    if pool < 1 or holdout < 1 or len(kept) < devices * minimum:
        raise ValueError(
            f"{samples.size} samples do not give a pool of {pool}, a holdout of {holdout} "
            f"and {minimum} for each of {devices} devices"
        )
    parts = dirichlet_partition(samples.labels[kept], devices, alpha, seed, minimum)
    return Split(
        devices=tuple(_take(samples, kept[part]) for part in parts),
        pool=_take(samples, order[:pool]),
        holdout=_take(samples, order[pool : pool + holdout]),
    )


def dirichlet_partition(
    labels: UInt8Array, devices: int, alpha: float, seed: int, minimum: int
) -> list[Int64Array]:
    """Indices of each device's samples: disjoint, complete, at least `minimum` for each.

    Every class is divided in proportions drawn from Dirichlet(alpha), as in Hsu, Qi and Brown
    2019 (arXiv 1909.06335): small alpha gives each device few classes. Then devices with too
    few samples get random ones from the device that has most.
    """
    if devices < 1 or not 0 < alpha < np.inf or len(labels) < devices * minimum:
        raise ValueError(
            f"{len(labels)} samples, {devices} devices with at least {minimum} each, alpha {alpha}"
        )
    generator = np.random.default_rng([seed, devices])
    owner = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(devices, alpha))
        ends = np.rint(np.cumsum(shares) * len(members)).astype(np.int64)
        owner[members] = np.searchsorted(ends[:-1], np.arange(len(members)), side="right")
    sizes = np.bincount(owner, minlength=devices)
    while sizes.min() < minimum:
        poorest, richest = int(np.argmin(sizes)), int(np.argmax(sizes))
        count = min(minimum - sizes[poorest], sizes[richest] - minimum)
        moved = generator.choice(np.flatnonzero(owner == richest), count, replace=False)
        owner[moved] = poorest
        sizes = np.bincount(owner, minlength=devices)
    return [np.flatnonzero(owner == device).astype(np.int64) for device in range(devices)]


def synthetic_samples(
    features: int, classes: int, samples: int, seed: int, *, stream: int = 0, noise: float = 24.0
) -> Batch:
    """Random samples around one random centre per class, for tests and benchmarks.

    `seed` alone fixes the centres; `stream` gives independent samples of the same problem,
    such as one for each device. `noise` is the standard deviation in input units (0 to 255).
    """
    centres = np.random.default_rng(seed).integers(64, 192, (classes, features))
    generator = np.random.default_rng([seed, stream])
    labels = generator.integers(0, classes, samples)
    inputs = centres[labels] + generator.normal(0, noise, (samples, features))
    return Batch(np.clip(np.rint(inputs), 0, INPUT_MAX).astype(np.uint8), labels.astype(np.uint8))


def _order(count: int, seed: int) -> Int64Array:
    salt = str(seed).encode()
    keys: Sequence[bytes] = [
        digest("dataset-split", salt, index.to_bytes(8, "big")) for index in range(count)
    ]
    return np.array(sorted(range(count), key=keys.__getitem__), dtype=np.int64)


def _take(samples: Batch, indices: Int64Array) -> Batch:
    return Batch(samples.inputs[indices], samples.labels[indices])
