"""Affine forms over the committed pads (section 6)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from zkpot_aggregator.independent.multilinear import ORDER


@dataclass(frozen=True)
class Form:
    """const + sum of linear[i] * pads[i]."""

    const: int
    linear: dict[int, int] = field(default_factory=dict)

    def __add__(self, other: "Form") -> "Form":
        return combine([(1, self), (1, other)])

    def __sub__(self, other: "Form") -> "Form":
        return combine([(1, self), (-1, other)])

    def __rmul__(self, factor: int) -> "Form":
        return combine([(factor, self)])


ZERO = Form(0)


def combine(terms: Iterable[tuple[int, Form]]) -> Form:
    """The sum of factor * form."""
    const, linear = 0, dict[int, int]()
    for factor, form in terms:
        const += factor * form.const
        for pad, coefficient in form.linear.items():
            linear[pad] = (linear.get(pad, 0) + factor * coefficient) % ORDER
    return Form(const % ORDER, linear)


@dataclass(frozen=True)
class Message:
    """A scalar of the prover that is known only as clear - pads[index]."""

    index: int
    clear: int

    @property
    def form(self) -> Form:
        """The message itself."""
        return Form(self.clear, {self.index: ORDER - 1})


def product_form(left: Message, right: Message, pad: int) -> Form:
    """The product of two messages, where pads[pad] holds the product of their pads."""
    terms = [
        (1, Form(left.clear * right.clear % ORDER, {pad: 1})),
        (-left.clear, Form(0, {right.index: 1})),
        (-right.clear, Form(0, {left.index: 1})),
    ]
    return combine(terms)
