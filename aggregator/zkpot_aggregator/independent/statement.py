"""From the bytes of a statement and its proof to a replay: steps 1 to 4 of section 12.

Step 4 is the transcript of section 7 and the statement itself (section 8 or 9); the opening
follows in `reduction` and `opening`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.accuracy import Samples, replay_accuracy
from zkpot_aggregator.independent.encoding import Element, Proof, parse_commitment, parse_proof
from zkpot_aggregator.independent.layout import accuracy_sizes, wellformed_sizes
from zkpot_aggregator.independent.replay import Replay
from zkpot_aggregator.independent.shape import Shape, check_samples, checked_shape
from zkpot_aggregator.independent.transcript import Transcript
from zkpot_aggregator.independent.wellformed import replay_wellformed

_CONTEXT_BYTES = 32


@dataclass(frozen=True)
class ModelStatement:
    """What both kinds of proof are about: a shape, a commitment, and a context of 32 bytes."""

    shape: Shape
    commitment: bytes
    context: bytes


@dataclass(frozen=True)
class Replayed:
    """A parsed proof, the rows in global numbering, and the statement's replay."""

    proof: Proof
    rows: list[Element]
    replay: Replay


def checked_statement(
    dims: Sequence[int], shifts: Sequence[int], bias_bits: int, commitment: bytes, context: bytes
) -> ModelStatement:
    """Raises `Rejected` (PROOF_INVALID) for a shape or context that no statement has."""
    if len(context) != _CONTEXT_BYTES:
        raise _impossible(f"a context of {_CONTEXT_BYTES} bytes", len(context))
    return ModelStatement(checked_shape(dims, shifts, bias_bits), commitment, context)


def replayed_wellformed(statement: ModelStatement, proof: bytes) -> Replayed:
    """Raises `Rejected` for malformed bytes; no equation is checked yet."""
    shape = statement.shape
    sizes = wellformed_sizes(shape)
    rows = parse_commitment(statement.commitment, shape.commitment_rows)
    parsed = parse_proof(proof, sizes)
    transcript = Transcript(b"zkpot/sumcheck/v1/wellformed")
    _append_shape(transcript, shape)
    _append_commitment(transcript, rows, statement.context)
    _append_rows(transcript, parsed)
    replay = Replay(shape.columns, sizes, transcript, parsed.messages)
    replay_wellformed(shape, replay)
    return Replayed(parsed, [*parsed.rows, *rows], replay)


def replayed_accuracy(statement: ModelStatement, samples: Samples, proof: bytes) -> Replayed:
    """Raises `Rejected` for malformed bytes and impossible batches; no equation is checked yet."""
    shape = statement.shape
    _check_batch(shape, samples)
    sizes = accuracy_sizes(shape, len(samples))
    rows = parse_commitment(statement.commitment, shape.commitment_rows)
    parsed = parse_proof(proof, sizes)
    transcript = Transcript(b"zkpot/sumcheck/v1/accuracy")
    _append_shape(transcript, shape)
    for shift in shape.shifts:
        transcript.append_integer(b"shift", shift)
    transcript.append_integer(b"batch", len(samples))
    _append_commitment(transcript, rows, statement.context)
    transcript.append(b"inputs", samples.inputs)
    transcript.append(b"labels", samples.labels)
    transcript.append_integer(b"count", samples.count)
    _append_rows(transcript, parsed)
    replay = Replay(shape.columns, sizes, transcript, parsed.messages)
    replay_accuracy(shape, samples, replay)
    return Replayed(parsed, [*parsed.rows, *rows], replay)


def _check_batch(shape: Shape, samples: Samples) -> None:
    check_samples(shape, len(samples))
    expected = len(samples) * shape.dims[0]
    if len(samples.inputs) != expected:
        raise _impossible(f"{expected} input bytes", len(samples.inputs))
    if max(samples.labels) >= shape.classes:
        raise _impossible(f"labels below {shape.classes}", max(samples.labels))
    if not 0 <= samples.count <= len(samples):
        raise _impossible(f"a count of 0 to {len(samples)}", samples.count)


def _impossible(expected: str, got: int) -> Rejected:
    return Rejected(Reason.PROOF_INVALID, f"no such statement: expected {expected}, got {got}")


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
