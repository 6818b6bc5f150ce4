"""The independent verifier, in the six steps of section 12 of `docs/proof-system.md`.

1. the shape and the lengths of the statement
2. the length of the proof
3. canonical points and scalars
4. the transcript, the replay of the statement, the reduction
5. the products
6. the group equations

Left to the caller, as the document says: that the commitment is the sealed one, that a
commitment's well-formedness *and* accuracy proofs are accepted, that contexts are right.
"""

from collections.abc import Sequence

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.accuracy import Samples, replay_accuracy
from zkpot_aggregator.independent.encoding import (
    Element,
    Proof,
    parse_commitment,
    parse_proof,
)
from zkpot_aggregator.independent.layout import accuracy_sizes, wellformed_sizes
from zkpot_aggregator.independent.opening import check_opening, draw_challenges
from zkpot_aggregator.independent.reduction import reduce_claims
from zkpot_aggregator.independent.replay import Replay
from zkpot_aggregator.independent.shape import Shape, check_samples, checked_shape
from zkpot_aggregator.independent.transcript import Transcript
from zkpot_aggregator.independent.wellformed import replay_wellformed

_CONTEXT_BYTES = 32


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
    # 1 to 3.
    shape = _checked_statement(dims, shifts, bias_bits, context)
    sizes = wellformed_sizes(shape)
    rows = parse_commitment(commitment, shape.commitment_rows)
    parsed = parse_proof(proof, sizes)
    # 4.
    transcript = Transcript(b"zkpot/sumcheck/v1/wellformed")
    _append_shape(transcript, shape)
    _append_commitment(transcript, rows, context)
    _append_rows(transcript, parsed)
    replay = Replay(shape.columns, sizes, transcript, parsed.messages)
    replay_wellformed(shape, replay)
    # 5 and 6.
    try:
        _check(parsed, rows, replay)
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
    # 1 to 3.
    shape = _checked_statement(dims, shifts, bias_bits, context)
    samples = Samples(inputs, labels, count)
    _check_samples(shape, samples)
    sizes = accuracy_sizes(shape, len(samples))
    rows = parse_commitment(commitment, shape.commitment_rows)
    parsed = parse_proof(proof, sizes)
    # 4.
    transcript = Transcript(b"zkpot/sumcheck/v1/accuracy")
    _append_shape(transcript, shape)
    for shift in shape.shifts:
        transcript.append_integer(b"shift", shift)
    transcript.append_integer(b"batch", len(samples))
    _append_commitment(transcript, rows, context)
    transcript.append(b"inputs", inputs)
    transcript.append(b"labels", labels)
    transcript.append_integer(b"count", count)
    _append_rows(transcript, parsed)
    replay = Replay(shape.columns, sizes, transcript, parsed.messages)
    replay_accuracy(shape, samples, replay)
    # 5 and 6.
    _check(parsed, rows, replay)


def _checked_statement(
    dims: Sequence[int], shifts: Sequence[int], bias_bits: int, context: bytes
) -> Shape:
    if len(context) != _CONTEXT_BYTES:
        raise Rejected(
            Reason.PROOF_INVALID,
            f"expected a context of {_CONTEXT_BYTES} bytes, got {len(context)}",
        )
    return checked_shape(dims, shifts, bias_bits)


def _check_samples(shape: Shape, samples: Samples) -> None:
    check_samples(shape, len(samples))
    expected = len(samples) * shape.dims[0]
    if len(samples.inputs) != expected:
        raise Rejected(
            Reason.PROOF_INVALID, f"expected {expected} input bytes, got {len(samples.inputs)}"
        )
    if max(samples.labels) >= shape.classes:
        raise Rejected(
            Reason.PROOF_INVALID,
            f"expected labels below {shape.classes}, got {max(samples.labels)}",
        )
    if not 0 <= samples.count <= len(samples):
        raise Rejected(
            Reason.PROOF_INVALID, f"expected a count of 0 to {len(samples)}, got {samples.count}"
        )


def _append_shape(transcript: Transcript, shape: Shape) -> None:
    transcript.append_integer(b"layers", shape.layers)
    transcript.append_integer(b"bias-bits", shape.bias_bits)
    transcript.append_integer(b"log-columns", shape.log_columns)
    transcript.append_integer(b"folds", shape.folds)
    for dim in shape.dims:
        transcript.append_integer(b"dim", dim)


def _append_commitment(transcript: Transcript, rows: list[Element], context: bytes) -> None:
    transcript.append_integer(b"rows", len(rows))
    for row in rows:
        transcript.append(b"C", row.encoding)
    transcript.append(b"context", context)


def _append_rows(transcript: Transcript, proof: Proof) -> None:
    for row in proof.rows:
        transcript.append(b"aux", row.encoding)
    transcript.append(b"pads", proof.pads.encoding)


def _check(proof: Proof, commitment: list[Element], replay: Replay) -> None:
    reduction = reduce_claims(replay)
    expected = (replay.sizes.messages, replay.sizes.products)
    assert (replay.sent, len(replay.products)) == expected, "section 11 against sections 8 to 10"
    challenges = draw_challenges(proof, replay.transcript)
    check_opening(proof, [*proof.rows, *commitment], replay, reduction, challenges)
