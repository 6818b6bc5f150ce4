"""From all claims and constraints to one linear form (sections 10.1 and 10.2)."""

from collections import defaultdict
from dataclasses import dataclass

from zkpot_aggregator.independent.forms import Form, combine
from zkpot_aggregator.independent.multilinear import ORDER, ceil_log, dot, eq_table, powers
from zkpot_aggregator.independent.replay import Replay


@dataclass(frozen=True)
class Reduction:
    """It remains to show <t*, weights> + form = 0, and the products.

    `row_to_coefficient` gives t* as a sum of rows.
    """

    row_to_coefficient: dict[int, int]
    weights: list[int]
    form: Form
    omega: int


def reduce_claims(replay: Replay) -> Reduction:
    """Draws the challenges of both sections and reads the remaining messages."""
    transcript = replay.transcript
    rho = transcript.challenge()
    column_to_rows: list[dict[int, int]] = [defaultdict(int) for _ in replay.columns]
    terms: list[tuple[int, Form]] = []
    for weight, (entries, form) in zip(powers(rho), replay.claims, strict=False):
        terms.append((weight, form))
        for entry in entries:
            column_to_rows[entry.column][entry.row] += weight * entry.coefficient
    final, point = replay.sumcheck(combine(terms), ceil_log(replay.width))
    weights = eq_table(point)
    ends = [replay.message().form for _ in replay.columns]
    values = (-dot(column, weights) for column in replay.columns)
    replay.constraints.append(combine([(1, final), *zip(values, ends, strict=True)]))

    tau = transcript.challenge()
    row_to_coefficient: dict[int, int] = defaultdict(int)
    terms = []
    for weight, rows, end in zip(powers(tau), column_to_rows, ends, strict=False):
        terms.append((-weight, end))
        for row, coefficient in rows.items():
            row_to_coefficient[row] += weight * coefficient % ORDER
    chi = transcript.challenge()
    for weight, constraint in zip(powers(chi), replay.constraints, strict=False):
        terms.append((weight * chi, constraint))
    expected = (replay.sizes.messages, replay.sizes.products)
    assert (replay.sent, len(replay.products)) == expected, "section 11 counts them all"
    return Reduction(row_to_coefficient, weights, combine(terms), transcript.challenge())
