"""Each final equation is checked by itself: spoiling one scalar breaks just its equation.

The challenges stay those of the honest proof, so that nothing else changes.
"""

from dataclasses import replace
from typing import Any

import pytest

from zkpot.errors import Rejected
from zkpot_aggregator.independent.encoding import Proof, parse_commitment, parse_proof
from zkpot_aggregator.independent.layout import wellformed_sizes
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.opening import check_opening, draw_challenges
from zkpot_aggregator.independent.reduction import reduce_claims
from zkpot_aggregator.independent.replay import Replay
from zkpot_aggregator.independent.shape import checked_shape
from zkpot_aggregator.independent.transcript import Transcript
from zkpot_aggregator.independent.wellformed import replay_wellformed

pytestmark = pytest.mark.prover


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
    """`verify_wellformed` from the transcript on, over challenges of its own label."""
    shape = checked_shape(*honest.case.shape)
    sizes = wellformed_sizes(shape)
    rows = parse_commitment(honest.commitment, shape.commitment_rows)
    proof = parse_proof(honest.wellformed, sizes)
    transcript = Transcript(b"zkpot/sumcheck/v1/wellformed")
    for label, value in (
        (b"layers", shape.layers),
        (b"bias-bits", shape.bias_bits),
        (b"log-columns", shape.log_columns),
        (b"folds", shape.folds),
        *((b"dim", dim) for dim in shape.dims),
        (b"rows", len(rows)),
    ):
        transcript.append(label, value.to_bytes(8, "little"))
    for row in rows:
        transcript.append(b"C", row.encoding)
    transcript.append(b"context", honest.context)
    for row in proof.rows:
        transcript.append(b"aux", row.encoding)
    transcript.append(b"pads", proof.pads.encoding)
    replay = Replay(shape.columns, sizes, transcript, proof.messages)
    replay_wellformed(shape, replay)
    if forgotten_constraint:
        replay.constraints.pop()
    reduction = reduce_claims(replay)
    challenges = draw_challenges(proof, transcript)
    check_opening(spoil(proof), [*proof.rows, *rows], replay, reduction, challenges)
