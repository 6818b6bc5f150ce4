"""A `sumcheck` system whose proofs are verified by the independent verifier alone.

Both kinds of proof go to `zkpot_aggregator.independent`; lengths are judged first and refusals
get the reasons that `SumcheckSystem` gives, because recorded verdicts are compared with them.
Commitments, which only add up and open here, stay with the native library.
"""

from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.ids import Digest
from zkpot.model import Shape
from zkpot.proof.registry import SUMCHECK
from zkpot.proof.sumcheck import SumcheckCommitments, SumcheckSystem
from zkpot.proof.system import ModelOpening, Obstacle, Progress, ProofSystem, ProvingFailed
from zkpot.statement import Statement
from zkpot.task import Task
from zkpot_aggregator import independent
from zkpot_aggregator.independent.shape import checked_shape

UNIT = 32
"""Bytes of a point, of which a commitment is a list."""


class IndependentSystem:
    """Verifies like `SumcheckSystem`, without its code; slow, and unable to prove."""

    def __init__(self, shape: Shape, batch_size: int) -> None:
        self._native = SumcheckSystem(shape, batch_size)
        self._shape = shape
        checked = checked_shape(shape.widths, shape.shifts, shape.bias_bits)
        self._commitment_bytes = checked.commitment_rows * UNIT

    @property
    def id(self) -> str:
        """See `ProofSystem.id`."""
        return self._native.id

    @property
    def commitments(self) -> SumcheckCommitments:
        """See `ProofSystem.commitments`."""
        return self._native.commitments

    def prepare(self, progress: Progress) -> None:
        """See `ProofSystem.prepare`."""
        self._native.prepare(progress)

    def prove_wellformed(self, opening: ModelOpening, context: Digest) -> bytes:
        """Always UNAVAILABLE."""
        del opening, context
        raise _no_prover()

    def prove(self, statement: Statement, opening: ModelOpening, progress: Progress) -> bytes:
        """Always UNAVAILABLE."""
        del statement, opening, progress
        raise _no_prover()

    def verify_wellformed(self, commitment: bytes, context: Digest, proof: bytes | None) -> None:
        """See `ProofSystem.verify_wellformed`."""
        if len(commitment) != self._commitment_bytes:
            raise Rejected(
                Reason.COMMITMENT_MALFORMED,
                f"{len(commitment)} bytes, expected {self._commitment_bytes}",
            )
        if proof is None:
            raise Rejected(Reason.COMMITMENT_NOT_WELLFORMED, "there is no proof of it")
        shape = self._shape
        try:
            independent.verify_wellformed(
                shape.widths, shape.shifts, shape.bias_bits, commitment, context, proof
            )
        except Rejected as error:
            raise Rejected(Reason.COMMITMENT_NOT_WELLFORMED, error.detail) from error

    def verify(self, statement: Statement, proof: bytes) -> None:
        """See `ProofSystem.verify`."""
        if not 0 <= statement.count <= statement.batch.size:
            raise Rejected(
                Reason.COUNT_MISMATCH, f"count {statement.count} of {statement.batch.size}"
            )
        expected = self._native.proof_bytes
        if len(proof) != expected:
            raise Rejected(Reason.PROOF_MALFORMED, f"{len(proof)} bytes, expected {expected}")
        shape, batch = self._shape, statement.batch
        try:
            independent.verify(
                shape.widths,
                shape.shifts,
                shape.bias_bits,
                statement.commitment,
                batch.inputs.tobytes(),
                batch.labels.tobytes(),
                statement.context,
                statement.count,
                proof,
            )
        except Rejected as error:
            raise Rejected(Reason.PROOF_INVALID, error.detail) from error


def load_independent(task: Task) -> ProofSystem:
    """The independent verifier for the task's shape; raises `Fatal` (USAGE) if it has none."""
    if task.proof_system != SUMCHECK:
        raise Fatal(
            ExitCode.USAGE,
            f"--independent does not apply: the task's proofs are {task.proof_system}, "
            f"and only {SUMCHECK} has a second verifier",
        )
    return IndependentSystem(task.model.shape, task.batch_size)


def _no_prover() -> ProvingFailed:
    return ProvingFailed(Obstacle.UNAVAILABLE, "the independent verifier cannot prove")
