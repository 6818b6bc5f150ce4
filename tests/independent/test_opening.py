"""Each final equation is checked by itself: spoiling one scalar breaks just its equation.

The challenges stay those of the honest proof, so that nothing else changes.
"""

from dataclasses import replace
from typing import Any

import pytest

from zkpot.errors import Rejected
from zkpot_aggregator.independent.encoding import Proof
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.opening import check_opening, draw_challenges
from zkpot_aggregator.independent.reduction import reduce_claims
from zkpot_aggregator.independent.statement import checked_statement, replayed_wellformed


def test_the_parts_accept_an_honest_proof(honest: Any) -> None:
    check(honest, lambda proof: proof)


def plus_one(scalars: list[int], place: int) -> list[int]:
    changed = list(scalars)
    changed[place] = (changed[place] + 1) % ORDER
    return changed


def spoilt_products(proof: Proof) -> Proof:
    return replace(proof, sigmas=plus_one(proof.sigmas, 1))


def spoilt_rows(proof: Proof) -> Proof:
    return replace(proof, blinds=plus_one(proof.blinds, 0))


def spoilt_linear_form(proof: Proof) -> Proof:
    return replace(proof, sigmas=plus_one(proof.sigmas, 0))


def spoilt_tail(proof: Proof) -> Proof:
    return replace(proof, z1=plus_one(proof.z1, -1))


def spoilt_pads(proof: Proof) -> Proof:
    return replace(proof, blinds=plus_one(proof.blinds, 1))


@pytest.mark.parametrize(
    ("spoil", "equation"),
    [
        (spoilt_products, "products"),
        (spoilt_rows, "rows"),
        (spoilt_linear_form, "rows"),
        (spoilt_tail, "rows"),
        (spoilt_pads, "pads"),
    ],
)
def test_each_equation_alone(honest: Any, spoil: Any, equation: str) -> None:
    with pytest.raises(Rejected, match=f"the equation of the {equation}"):
        check(honest, spoil)


def test_a_forgotten_constraint_is_seen(honest: Any) -> None:
    with pytest.raises(Rejected, match="the equation of the rows"):
        check(honest, lambda proof: proof, forgotten_constraint=True)


def check(honest: Any, spoil: Any, *, forgotten_constraint: bool = False) -> None:
    dims, shifts, bias_bits = honest.shape
    statement = checked_statement(dims, shifts, bias_bits, honest.commitment, honest.context)
    replayed = replayed_wellformed(statement, honest.wellformed)
    replay = replayed.replay
    if forgotten_constraint:
        replay.constraints.pop()
    reduction = reduce_claims(replay)
    challenges = draw_challenges(replayed.proof, replay.transcript)
    check_opening(spoil(replayed.proof), replayed.rows, replay, reduction, challenges)
