"""The sigma protocol, the folding and the final equations (sections 10.3 to 10.5).

The two group equations (A) and (B) are checked apart, as section 10.5 permits; the challenge
psi, which would join them, is the last of the transcript and is not drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.edwards import Point
from zkpot_aggregator.independent.encoding import Element, Proof
from zkpot_aggregator.independent.generators import generator
from zkpot_aggregator.independent.layout import UNIT_BYTES
from zkpot_aggregator.independent.multilinear import ORDER, dot, powers
from zkpot_aggregator.independent.multiscalar import multiscalar
from zkpot_aggregator.independent.reduction import Reduction
from zkpot_aggregator.independent.replay import Replay
from zkpot_aggregator.independent.ristretto import is_identity
from zkpot_aggregator.independent.transcript import Transcript


@dataclass(frozen=True)
class Challenges:
    """The challenges of the opening."""

    c: int
    theta: int
    folds: list[int]


def draw_challenges(proof: Proof, transcript: Transcript) -> Challenges:
    """Binds the rest of the proof."""
    for element in proof.deltas:
        transcript.append(b"delta", element.encoding)
    _append_scalars(transcript, b"sigma", proof.sigmas)
    c = transcript.challenge()
    _append_scalars(transcript, b"z2", proof.z2)
    _append_scalars(transcript, b"blind", proof.blinds)
    theta = transcript.challenge()
    folds = []
    for left, right in zip(proof.crosses[::2], proof.crosses[1::2], strict=True):
        transcript.append(b"fold", left.encoding)
        transcript.append(b"fold", right.encoding)
        folds.append(transcript.challenge())
    return Challenges(c, theta, folds)


def check_opening(
    proof: Proof,
    rows: Sequence[Element],
    replay: Replay,
    reduction: Reduction,
    challenges: Challenges,
) -> None:
    """The three checks of section 10.5, the cheap one first; raises `Rejected`."""
    # 1. Products.
    _, e0, e1 = proof.sigmas
    products = _products(proof, replay, reduction, challenges.c)
    _require((products - e0 - challenges.c * e1) % ORDER == 0, "products")
    # 2. (A): what the rows hold.
    terms = _rows_equation(proof, rows, reduction, challenges)
    _require(is_identity(multiscalar(terms)), "rows")
    # 3. (B): what the pad row holds.
    _require(is_identity(multiscalar(_pads_equation(proof, challenges))), "pads")


def _products(proof: Proof, replay: Replay, reduction: Reduction, c: int) -> int:
    z2, first = proof.z2, replay.sizes.messages
    total = z2[-1]
    for k, (weight, (i, j)) in enumerate(
        zip(powers(reduction.omega), replay.products, strict=False)
    ):
        total += weight * (z2[i] * z2[j] - c * z2[first + k])
    return total % ORDER


def _rows_equation(
    proof: Proof, rows: Sequence[Element], reduction: Reduction, challenges: Challenges
) -> Iterator[tuple[int, Point]]:
    """A_f - <z, Gamma> - theta <z, x> Q, with the recursion of (A) unrolled."""
    form, c, theta = reduction.form, challenges.c, challenges.theta
    linear = sum(coefficient * proof.z2[pad] for pad, coefficient in form.linear.items())
    y = proof.sigmas[0] - c * form.const - linear

    scale = 1
    crosses = list(zip(proof.crosses[::2], proof.crosses[1::2], strict=True))
    for x, (left, right) in zip(reversed(challenges.folds), reversed(crosses), strict=True):
        yield scale, left.point
        yield scale * x * x, right.point
        scale = scale * x % ORDER

    yield scale, proof.deltas[0].point
    for row, coefficient in reduction.row_to_coefficient.items():
        yield scale * c % ORDER * coefficient, rows[row].point
    yield -scale * proof.blinds[0], generator("H", 0)

    tail = len(proof.z1)
    inner = 0
    for block, weight in enumerate(_fold_weights(challenges.folds)):
        start = block * tail
        inner += weight * dot(proof.z1, reduction.weights[start : start + tail])
        for i, z in enumerate(proof.z1):
            yield -weight * z, generator("G", start + i)
    yield theta * (scale * y - inner), generator("Q", 0)


def _fold_weights(folds: Sequence[int]) -> list[int]:
    """The factor of each block of the unfolded vectors in the folded ones."""
    weights = [1]
    for x in folds:
        weights = [half for weight in weights for half in (weight * x % ORDER, weight)]
    return weights


def _pads_equation(proof: Proof, challenges: Challenges) -> Iterator[tuple[int, Point]]:
    """delta_2 + c Pads - sum of z2[i] G_i - t2 H."""
    yield 1, proof.deltas[1].point
    yield challenges.c, proof.pads.point
    for i, z in enumerate(proof.z2):
        yield -z, generator("G", i)
    yield -proof.blinds[1], generator("H", 0)


def _append_scalars(transcript: Transcript, label: bytes, scalars: Sequence[int]) -> None:
    for scalar in scalars:
        transcript.append(label, scalar.to_bytes(UNIT_BYTES, "little"))


def _require(condition: bool, equation: str) -> None:
    if not condition:
        raise Rejected(Reason.PROOF_INVALID, f"the equation of the {equation} does not hold")
