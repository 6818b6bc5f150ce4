"""The `ezkl/1` proof system: what a proof is, and when it holds.

A proof is a halo2 proof of PROOF_BYTES, as its EVM transcript writes it: it starts with
the points that commit to the circuit's inputs, in their order. Verification, in this order:

1. The statement fits the shape.
2. The proof has its one length (ezkl itself ignores bytes at the end) and its first points
   are canonical.
3. The first is the statement's commitment: this is what binds the model.
4. The next three are the verifier's own commitments to the batch.
5. The fifth is the verifier's own commitment to the context.
6. ezkl accepts the proof for instances that the verifier builds from its own count and
   context, with a verification key that it derived itself.

The context enters as its 32 bytes, big-endian, modulo the scalar field's order p (254
bits). Digests that are congruent modulo p are the same context: finding two takes as much
work, about 2^127 hashes, as a collision of the field's size must.

Left to the caller: that the commitment was sealed, that batch and context are the round's.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest
from zkpot.model import Shape
from zkpot.proof.ezkl import engine, srs
from zkpot.proof.ezkl.circuit import INPUT_NAMES, batch_tensors
from zkpot.proof.ezkl.commitments import EzklCommitments
from zkpot.proof.ezkl.keys import Keys
from zkpot.proof.ezkl.points import (
    POINT_BYTES,
    felt,
    felts,
    read_point,
    weighted_sum,
    write_point,
)
from zkpot.proof.ezkl.truth import check_statement, evaluate
from zkpot.proof.system import ModelOpening, Obstacle, Progress, ProvingFailed
from zkpot.statement import Statement

PROOF_BYTES = 8800
"""The same for every shape, because every circuit is one block of columns."""

MIN_SIZE = 2
"""Fewest samples and classes: a sum over one element leaves out a gate and 32 bytes."""


@dataclass(frozen=True)
class EzklSystem:
    """`ezkl/1` for one shape and batch size, with keys in `cache_dir`.

    `srs` is `insecure-demo` or `sha256:<64 hex digits>` (see `srs`); `binary` is a program that
    proves instead of the Python module (see `binary`). Raises `Rejected`
    (TASK_INVALID) for a shape with shifts or a single class, for an unknown SRS, and from
    the first use of the keys for a circuit that is too large.
    """

    shape: Shape
    batch_size: int
    cache_dir: Path
    srs: str
    binary: Path | None = None

    def __post_init__(self) -> None:
        srs.check_name(self.srs)
        if self.batch_size < MIN_SIZE or self.shape.classes < MIN_SIZE:
            raise Rejected(
                Reason.TASK_INVALID,
                f"{self.batch_size} samples of {self.shape.classes} classes: "
                f"ezkl/1 needs {MIN_SIZE} of each",
            )
        if any(self.shape.shifts):
            raise Rejected(
                Reason.TASK_INVALID,
                f"ezkl/1 has no shifts, the shape has {self.shape.shifts}: use sumcheck/1",
            )

    @property
    def id(self) -> str:
        """Name and version."""
        return "ezkl/1"

    @cached_property
    def keys(self) -> Keys:
        """The files; nothing is made before they are used."""
        return Keys(self.shape, self.batch_size, self.cache_dir, self.srs)

    @cached_property
    def commitments(self) -> EzklCommitments:
        """The commitment scheme."""
        return EzklCommitments(self.keys)

    def prepare(self, progress: Progress) -> None:
        """Makes SRS (demo only) and keys; 64-32-10 with N=32 takes about 10 s once."""
        self.keys.prepare(progress)

    def prove_wellformed(self, opening: ModelOpening, context: Digest) -> bytes | None:
        """None: nothing bounds theta here, so openings must be range-checked."""
        del opening, context
        return None

    def verify_wellformed(self, commitment: bytes, context: Digest, proof: bytes | None) -> None:
        """Raises `Rejected` unless the commitment is one canonical point, without a proof."""
        del context
        read_point(commitment, Reason.COMMITMENT_MALFORMED, "commitment")
        if proof is not None:
            raise Rejected(
                Reason.COMMITMENT_NOT_WELLFORMED, "ezkl/1 has no proofs of well-formedness"
            )

    def prove(self, statement: Statement, opening: ModelOpening, progress: Progress) -> bytes:
        """A proof of `statement`, verified before it is returned.

        Raises `ProvingFailed` (UNSATISFIED) if the statement is not true of the opening or
        a value leaves the circuit's range.
        """
        progress("checking the statement", 0.0)
        check_statement(self.shape, self.batch_size, statement)
        self._check_true(statement, opening)
        message = self.commitments.message(opening)
        if self.commitments.commit(opening) != statement.commitment:
            raise ProvingFailed(Obstacle.UNSATISFIED, "the opening is not the commitment's")
        progress("proving", 0.1)
        batch = (felts(tensor) for tensor in batch_tensors(self.shape, statement.batch))
        inputs = [message, *batch, [_context_felt(statement.context)]]
        proof = engine.prove(self.keys.for_proving, inputs, self.binary)
        if len(proof) != PROOF_BYTES:
            raise ProvingFailed(
                Obstacle.CRASHED, f"ezkl's proof has {len(proof)} bytes, expected {PROOF_BYTES}"
            )
        progress("verifying the proof", 0.95)
        try:
            self.verify(statement, proof)
        except Rejected as error:
            raise ProvingFailed(
                Obstacle.UNSATISFIED, f"the proof does not hold: {error.reason.name}"
            ) from error
        progress("done", 1.0)
        return proof

    def verify(self, statement: Statement, proof: bytes) -> None:
        """Raises `Rejected` unless `proof` proves exactly `statement`; see the module."""
        # 1.
        check_statement(self.shape, self.batch_size, statement)
        # 2.
        if len(proof) != PROOF_BYTES:
            raise Rejected(Reason.PROOF_MALFORMED, f"{len(proof)} bytes, expected {PROOF_BYTES}")
        prefix = []
        for position, name in enumerate(INPUT_NAMES):
            part = proof[position * POINT_BYTES : (position + 1) * POINT_BYTES]
            read_point(part, Reason.PROOF_MALFORMED, f"point of {name}")
            prefix.append(part)
        model, *batch, context = prefix
        # 3.
        if model != statement.commitment:
            raise Rejected(Reason.COMMITMENT_MISMATCH, "the proof is about another model")
        # 4.
        if tuple(batch) != self._batch_points(statement.batch):
            raise Rejected(Reason.BATCH_MISMATCH, "the proof is about another batch")
        # 5.
        if context != self._context_point(statement.context):
            raise Rejected(Reason.CONTEXT_MISMATCH, "the proof is bound to another context")
        # 6.
        instances = [felt(statement.count), _context_felt(statement.context)]
        engine.verify(self.keys.for_verifying, instances, proof)

    def _check_true(self, statement: Statement, opening: ModelOpening) -> None:
        """Fails early, in integers, where the circuit would fail late."""
        largest, count = evaluate(self.shape, opening.theta, statement.batch)
        if largest >= self.keys.layout.value_limit:
            raise ProvingFailed(
                Obstacle.UNSATISFIED,
                f"a value reaches {largest.bit_length()} bits, the circuit holds "
                f"{self.keys.layout.value_limit.bit_length() - 1}",
            )
        if count != statement.count:
            raise ProvingFailed(Obstacle.UNSATISFIED, "the count is not the model's")

    def _batch_points(self, batch: Batch) -> tuple[bytes, ...]:
        """The verifier's own commitments to the batch; kept for the last batch seen."""
        if batch.digest not in self._batch_to_points:
            self._batch_to_points.clear()
            self._batch_to_points[batch.digest] = tuple(
                engine.commit(self.keys.for_verifying, felts(tensor))
                for tensor in batch_tensors(self.shape, batch)
            )
        return self._batch_to_points[batch.digest]

    @cached_property
    def _batch_to_points(self) -> dict[Digest, tuple[bytes, ...]]:
        return {}

    def _context_point(self, context: Digest) -> bytes:
        """C(c) = U + c (C(1) - U), cheaper than asking ezkl for each device."""
        value = int.from_bytes(context, "big")
        points = [self.commitments.zero, self._one]
        return write_point(weighted_sum(points, [1 - value, value]))

    @cached_property
    def _one(self) -> tuple[int, int]:
        return self.commitments.point(felts([1]))


def _context_felt(context: Digest) -> str:
    return felt(int.from_bytes(context, "big"))
