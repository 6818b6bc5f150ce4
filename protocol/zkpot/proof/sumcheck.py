"""The `sumcheck` proof system: the native prover of docs/proof-system.md, for devices.

No setup and no keys: everything follows from the shape. A commitment is a list of Pedersen
row commitments, its blinding one scalar per row; both add up, so sums can be opened. The
accuracy proof alone says nothing about the size of the weights: the well-formedness proof,
which the pipeline checks before the commitments are sealed, does.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import zkpot_prover as native

from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest
from zkpot.model import Shape, check_bounds
from zkpot.proof.system import ModelOpening, Obstacle, Progress, ProvingFailed
from zkpot.statement import Statement


class SumcheckCommitments:
    """Pedersen commitments to theta, row by row."""

    def __init__(self, shape: native.Shape) -> None:
        self._shape = shape

    def random_blinding(self) -> bytes:
        """See `Commitments.random_blinding`."""
        return native.random_blinding(self._shape)

    def commit(self, opening: ModelOpening) -> bytes:
        """See `Commitments.commit`. Entries out of bounds are `Rejected` (OUT_OF_RANGE)."""
        try:
            return native.commit(self._shape, _theta(opening), opening.blinding)
        except native.ProofError as error:
            raise Rejected(Reason.OUT_OF_RANGE, str(error)) from error

    def add(self, commitments: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """See `Commitments.add`."""
        try:
            return native.add(self._shape, list(commitments), list(weights))
        except native.ProofError as error:
            raise Rejected(Reason.COMMITMENT_MALFORMED, str(error)) from error

    def add_openings(
        self, openings: Sequence[ModelOpening], weights: Sequence[int]
    ) -> ModelOpening:
        """See `Commitments.add_openings`."""
        pairs = list(zip(openings, weights, strict=True))
        theta = np.sum([weight * opening.theta for opening, weight in pairs], axis=0)
        try:
            blinding = native.add_blindings(
                self._shape, [opening.blinding for opening in openings], list(weights)
            )
        except native.ProofError as error:
            raise Rejected(Reason.OPENING_INVALID, str(error)) from error
        return ModelOpening(np.asarray(theta, dtype=np.int64), blinding)

    def check_opening(self, commitment: bytes, opening: ModelOpening) -> None:
        """See `Commitments.check_opening`."""
        theta = opening.theta.astype("<i8").tobytes()
        try:
            native.check_opening(self._shape, commitment, theta, opening.blinding)
        except native.ProofError as error:
            raise Rejected(Reason.OPENING_INVALID, str(error)) from error


class SumcheckSystem:
    """The native proof system for one shape and batch size.

    Raises `Rejected` (TASK_INVALID) for a shape or batch outside its limits.
    """

    def __init__(self, shape: Shape, batch_size: int) -> None:
        try:
            self._native = native.Shape(list(shape.widths), list(shape.shifts), shape.bias_bits)
            self.proof_bytes = self._native.proof_bytes(batch_size)
        except native.ShapeError as error:
            raise Rejected(Reason.TASK_INVALID, str(error)) from error
        self._shape = shape
        self._batch_size = batch_size
        self._commitments = SumcheckCommitments(self._native)

    @property
    def id(self) -> str:
        """See `ProofSystem.id`."""
        return "sumcheck/1"

    @property
    def commitments(self) -> SumcheckCommitments:
        """See `ProofSystem.commitments`."""
        return self._commitments

    def prepare(self, progress: Progress) -> None:
        """There is no setup; but threads start here, where nobody's proof is blamed for it.

        Raises `ProvingFailed` (UNAVAILABLE) if they cannot.
        """
        nothing = bytes(self._native.commitment_bytes)
        try:
            native.add(self._native, [nothing], [1])
        except native.ProofError as error:
            raise ProvingFailed(Obstacle.UNAVAILABLE, str(error)) from error
        progress("no keys are needed", 1.0)

    def prove_wellformed(self, opening: ModelOpening, context: Digest) -> bytes:
        """See `ProofSystem.prove_wellformed`."""
        try:
            return native.prove_wellformed(self._native, _theta(opening), opening.blinding, context)
        except native.ProofError as error:
            raise ProvingFailed(Obstacle.UNSATISFIED, str(error)) from error

    def verify_wellformed(self, commitment: bytes, context: Digest, proof: bytes | None) -> None:
        """See `ProofSystem.verify_wellformed`."""
        if len(commitment) != self._native.commitment_bytes:
            raise Rejected(
                Reason.COMMITMENT_MALFORMED,
                f"{len(commitment)} bytes, expected {self._native.commitment_bytes}",
            )
        if proof is None:
            raise Rejected(Reason.COMMITMENT_NOT_WELLFORMED, "there is no proof of it")
        try:
            native.verify_wellformed(self._native, commitment, context, proof)
        except native.ProofError as error:
            raise Rejected(Reason.COMMITMENT_NOT_WELLFORMED, str(error)) from error

    def prove(self, statement: Statement, opening: ModelOpening, progress: Progress) -> bytes:
        """See `ProofSystem.prove`. A count that is not the true one is UNSATISFIED."""
        check_bounds(self._shape, opening.theta)
        progress("proving", 0.0)
        try:
            count, proof = native.prove(
                self._native,
                _theta(opening),
                opening.blinding,
                *_batch(statement),
                statement.context,
                commitment=statement.commitment,
            )
        except native.ProofError as error:
            raise ProvingFailed(Obstacle.UNSATISFIED, str(error)) from error
        if count != statement.count:
            raise ProvingFailed(Obstacle.UNSATISFIED, "the claimed count is not the true one")
        progress("proving", 1.0)
        return proof

    def verify(self, statement: Statement, proof: bytes) -> None:
        """See `ProofSystem.verify`."""
        if not 0 <= statement.count <= statement.batch.size:
            raise Rejected(
                Reason.COUNT_MISMATCH, f"count {statement.count} of {statement.batch.size}"
            )
        if statement.batch.inputs.shape != (self._batch_size, self._shape.features):
            raise Rejected(
                Reason.BATCH_MISMATCH, f"a batch of {statement.batch.inputs.shape} inputs"
            )
        if len(proof) != self.proof_bytes:
            raise Rejected(
                Reason.PROOF_MALFORMED, f"{len(proof)} bytes, expected {self.proof_bytes}"
            )
        try:
            native.verify(
                self._native,
                statement.commitment,
                *_batch(statement),
                statement.context,
                statement.count,
                proof,
            )
        except native.ProofError as error:
            raise Rejected(Reason.PROOF_INVALID, str(error)) from error

    def verify_many(
        self, statements: Sequence[Statement], proofs: Iterable[bytes]
    ) -> list[Rejected | None]:
        """Verifies proofs over one batch together; per proof None or why it is refused.

        Raises ValueError if the statements are not about the same batch.
        """
        items: list[tuple[bytes, bytes, int, bytes]] = [
            (statement.commitment, statement.context, statement.count, proof)
            for statement, proof in zip(statements, proofs, strict=True)
        ]
        if not items:
            return []
        if len({statement.batch.digest for statement in statements}) != 1:
            raise ValueError("statements about different batches cannot be verified together")
        reasons = native.verify_many(self._native, *_batch(statements[0]), items)
        return [
            None if reason is None else Rejected(Reason.PROOF_INVALID, reason) for reason in reasons
        ]


def _theta(opening: ModelOpening) -> bytes:
    return opening.theta.astype("<i4").tobytes()


def _batch(statement: Statement) -> tuple[bytes, bytes]:
    return statement.batch.inputs.tobytes(), statement.batch.labels.tobytes()
