"""The verifier's half of a statement: it redraws challenges and notes what must hold.

A statement, run on a `Replay`, leaves constraints (forms that must be 0), products of
messages, columns and claims about rows (section 6). Nothing fails here: whatever the clear
messages say, the equations of section 10 decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from zkpot_aggregator.independent.forms import Form, Message, combine, product_form
from zkpot_aggregator.independent.layout import UNIT_BYTES, Sizes
from zkpot_aggregator.independent.multilinear import ORDER, eq_table, inverse
from zkpot_aggregator.independent.transcript import Transcript

_HALF = inverse(2)


@dataclass(frozen=True)
class Entry:
    """A term coefficient * <row, column> of a claim."""

    column: int
    row: int
    coefficient: int


def shifted(entries: Sequence[Entry], rows: int, factor: int) -> list[Entry]:
    """The same functional on another slab of equal width, without a new column."""
    return [Entry(e.column, e.row + rows, e.coefficient * factor % ORDER) for e in entries]


class Replay:
    """One run of a statement over the clear messages of a proof."""

    def __init__(
        self, columns: int, sizes: Sizes, transcript: Transcript, clear: Sequence[int]
    ) -> None:
        self.transcript = transcript
        self.width = columns
        self.sizes = sizes
        self.constraints: list[Form] = []
        self.products: list[tuple[int, int]] = []
        self.columns: list[list[int]] = []
        self.claims: list[tuple[list[Entry], Form]] = []
        self.sent = 0
        self._clear = clear

    def message(self) -> Message:
        """The next message, bound as it is read."""
        message = Message(self.sent, self._clear[self.sent])
        self.transcript.append(b"msg", message.clear.to_bytes(UNIT_BYTES, "little"))
        self.sent += 1
        return message

    def multiply(self, left: Message, right: Message) -> Form:
        """The next product."""
        pad = self.sizes.messages + len(self.products)
        self.products.append((left.index, right.index))
        return product_form(left, right, pad)

    def sumcheck(self, claim: Form, rounds: int) -> tuple[Form, list[int]]:
        """The plain sumcheck: the last claim and its point."""
        point: list[int] = []
        for _ in range(rounds):
            at_0, at_2 = self.message().form, self.message().form
            claim = self._next(point, at_0, claim - at_0, at_2)
        return claim, point

    def zero_check(self, claim: Form, at: Sequence[int]) -> tuple[Form, list[int]]:
        """The sumcheck with the factor eq(at) left outside (Gruen 2024)."""
        point: list[int] = []
        for coordinate in at:
            at_0, at_2 = self.message().form, self.message().form
            scale = inverse(coordinate)
            at_1 = combine([(scale, claim), (scale * (coordinate - 1), at_0)])
            claim = self._next(point, at_0, at_1, at_2)
        return claim, point

    def _next(self, point: list[int], at_0: Form, at_1: Form, at_2: Form) -> Form:
        """Draws a challenge and evaluates the quadratic through three values there."""
        r = self.transcript.challenge()
        point.append(r)
        return combine(
            [
                ((r - 1) * (r - 2) % ORDER * _HALF % ORDER, at_0),
                (r * (2 - r) % ORDER, at_1),
                (r * (r - 1) % ORDER * _HALF % ORDER, at_2),
            ]
        )

    def column(self, values: Sequence[int]) -> int:
        """A new column, filled up with zeros; its number."""
        self.columns.append([*values, *[0] * (self.width - len(values))])
        return len(self.columns) - 1

    def claim(self, entries: list[Entry], form: Form) -> None:
        """Notes that the entries add up to `form`."""
        self.claims.append((entries, form))

    def tensor(
        self,
        bases: Sequence[tuple[int, int]],
        count: int,
        point: Sequence[int],
        across: Sequence[int],
        *,
        masked: bool,
    ) -> list[Entry]:
        """The tensor functional of section 6, for bases of (first row, coefficient)."""
        per_row = self.width // len(across)
        split = len(point) - (per_row.bit_length() - 1)
        if split < 0:
            weights = eq_table(point)
            column = self._outer(weights[:count] if masked else weights, across)
            return [Entry(column, row, coefficient) for row, coefficient in bases]
        high, low = eq_table(point[:split]), eq_table(point[split:])
        full = count // per_row if masked else -(-count // per_row)
        entries: list[Entry] = []
        if full > 0:
            column = self._outer(low, across)
            entries += [
                Entry(column, row + i, coefficient * high[i] % ORDER)
                for row, coefficient in bases
                for i in range(full)
            ]
        if masked and count % per_row:
            column = self._outer(low[: count % per_row], across)
            entries += [
                Entry(column, row + full, coefficient * high[full] % ORDER)
                for row, coefficient in bases
            ]
        return entries

    def _outer(self, down: Sequence[int], across: Sequence[int]) -> int:
        return self.column([a * b % ORDER for a, b in product(down, across)])
