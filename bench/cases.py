"""What is measured: proof systems, shapes by name or by widths, batch sizes, threads."""

import argparse
from dataclasses import dataclass

from zkpot.datasets import DIGITS_SPEC, MNIST_SPEC
from zkpot.errors import Rejected
from zkpot.model import Shape

NAME_TO_SHAPE = {
    "digits": DIGITS_SPEC.shape,
    "mnist": MNIST_SPEC.shape,
    "mnist-deep": Shape((784, 256, 128, 10), (8, 8), 18),
}

_SHIFT = 12
_BIAS_BITS = 18


@dataclass(frozen=True)
class Case:
    """One row: a system by its short name, a shape by name, N, and threads."""

    system: str
    shape: str
    batch: int
    threads: int


def shape_of(name: str) -> Shape:
    """A named shape, or one like `784-64-10`, whose hidden layers shift by 12."""
    if name in NAME_TO_SHAPE:
        return NAME_TO_SHAPE[name]
    try:
        widths = tuple(map(int, name.split("-")))
        return Shape(widths, (_SHIFT,) * (len(widths) - 2), _BIAS_BITS)
    except (ValueError, Rejected) as error:
        raise argparse.ArgumentTypeError(
            f"{name}: expected {', '.join(NAME_TO_SHAPE)} or widths like 784-64-10 ({error})"
        ) from error
