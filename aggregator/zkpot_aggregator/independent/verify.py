"""The independent verifier, in the six steps of section 12 of `docs/proof-system.md`.

1. the shape and the lengths of the statement
2. the length of the proof
3. canonical points and scalars
4. the transcript, the replay of the statement, the reduction of its claims
5. the products
6. the group equations

Left to the caller, as the document says: that the commitment is the sealed one, that a
commitment's well-formedness *and* accuracy proofs are accepted, that contexts are right.
"""

from collections.abc import Sequence

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.accuracy import Samples
from zkpot_aggregator.independent.opening import check_opening, draw_challenges
from zkpot_aggregator.independent.reduction import reduce_claims
from zkpot_aggregator.independent.statement import (
    Replayed,
    checked_statement,
    replayed_accuracy,
    replayed_wellformed,
)


def verify_wellformed(
    dims: Sequence[int],
    shifts: Sequence[int],
    bias_bits: int,
    commitment: bytes,
    context: bytes,
    proof: bytes,
) -> None:
    """Raises `Rejected` unless `proof` shows that `commitment` holds a model in range.

    Reasons: COMMITMENT_MALFORMED, PROOF_MALFORMED, COMMITMENT_NOT_WELLFORMED where an equation
    fails, PROOF_INVALID for a shape or context that no statement has.
    """
    statement = checked_statement(dims, shifts, bias_bits, commitment, context)
    replayed = replayed_wellformed(statement, proof)
    try:
        _check(replayed)
    except Rejected as error:
        raise Rejected(Reason.COMMITMENT_NOT_WELLFORMED, error.detail) from error


def verify(
    dims: Sequence[int],
    shifts: Sequence[int],
    bias_bits: int,
    commitment: bytes,
    inputs: bytes,
    labels: bytes,
    context: bytes,
    count: int,
    proof: bytes,
) -> None:
    """Raises `Rejected` unless `proof` shows that the model counts `count` of the samples.

    `inputs` are N * dims[0] bytes, row by row; `labels` are N bytes. Worth nothing without
    `verify_wellformed` of the same commitment. Reasons: COMMITMENT_MALFORMED, PROOF_MALFORMED,
    and PROOF_INVALID where an equation fails or no statement can be as it is given.
    """
    statement = checked_statement(dims, shifts, bias_bits, commitment, context)
    _check(replayed_accuracy(statement, Samples(inputs, labels, count), proof))


def _check(replayed: Replayed) -> None:
    """The end of step 4, and steps 5 and 6."""
    replay = replayed.replay
    reduction = reduce_claims(replay)
    challenges = draw_challenges(replayed.proof, replay.transcript)
    check_opening(replayed.proof, replayed.rows, replay, reduction, challenges)
