"""A proof system that proves nothing, for tests of everything around proofs.

Its commitments are linear like real ones, and neither hiding nor binding to an adversary;
its proofs are digests of what they claim, which anybody could make. It keeps every rule of
`ProofSystem`, so what tests find with it holds for real systems.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest, digest
from zkpot.model import Shape, check_bounds, count_correct
from zkpot.proof.system import ModelOpening, Obstacle, Progress, ProvingFailed
from zkpot.statement import Statement

PRIME = (1 << 61) - 1
BLINDING_BYTES = 16
ENTRY_BYTES = 8


@dataclass(frozen=True)
class FakeCommitments:
    """Entry i of theta becomes theta_i + blinding * (i + 1), modulo a prime."""

    shape: Shape

    def random_blinding(self) -> bytes:
        """See `Commitments.random_blinding`."""
        return os.urandom(7).rjust(BLINDING_BYTES, b"\0")

    def commit(self, opening: ModelOpening) -> bytes:
        """See `Commitments.commit`."""
        if opening.theta.shape != (self.shape.parameters,):
            raise Rejected(Reason.OPENING_INVALID, "another number of parameters")
        if len(opening.blinding) != BLINDING_BYTES:
            raise Rejected(Reason.OPENING_INVALID, f"{len(opening.blinding)} bytes of blinding")
        blinding = int.from_bytes(opening.blinding, "big")
        entries = [int(t) + blinding * (i + 1) for i, t in enumerate(opening.theta)]
        return b"".join((entry % PRIME).to_bytes(ENTRY_BYTES, "big") for entry in entries)

    def add(self, commitments: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """See `Commitments.add`."""
        total = [0] * self.shape.parameters
        for commitment, weight in zip(commitments, weights, strict=True):
            entries = self._entries(commitment)
            total = [a + weight * b for a, b in zip(total, entries, strict=True)]
        return b"".join((entry % PRIME).to_bytes(ENTRY_BYTES, "big") for entry in total)

    def add_openings(
        self, openings: Sequence[ModelOpening], weights: Sequence[int]
    ) -> ModelOpening:
        """See `Commitments.add_openings`."""
        theta = np.zeros(self.shape.parameters, np.int64)
        blinding = 0
        for opening, weight in zip(openings, weights, strict=True):
            theta += weight * opening.theta
            blinding += weight * int.from_bytes(opening.blinding, "big")
        return ModelOpening(theta, (blinding % PRIME).to_bytes(BLINDING_BYTES, "big"))

    def check_opening(self, commitment: bytes, opening: ModelOpening) -> None:
        """See `Commitments.check_opening`."""
        if self.commit(opening) != commitment:
            raise Rejected(Reason.OPENING_INVALID, "it opens another commitment")

    def _entries(self, commitment: bytes) -> list[int]:
        if len(commitment) != ENTRY_BYTES * self.shape.parameters:
            raise Rejected(Reason.COMMITMENT_MALFORMED, f"{len(commitment)} bytes")
        return [
            int.from_bytes(commitment[start : start + ENTRY_BYTES], "big")
            for start in range(0, len(commitment), ENTRY_BYTES)
        ]


@dataclass(frozen=True)
class FakeProofSystem:
    """Proofs that are digests. `wellformed` adds a commit-time proof, as some systems have."""

    shape: Shape
    batch_size: int
    wellformed: bool = True

    @property
    def id(self) -> str:
        """See `ProofSystem.id`."""
        return "fake/1"

    @property
    def commitments(self) -> FakeCommitments:
        """See `ProofSystem.commitments`."""
        return FakeCommitments(self.shape)

    def prepare(self, progress: Progress) -> None:
        """See `ProofSystem.prepare`."""
        progress("nothing to prepare", 1.0)

    def prove_wellformed(self, opening: ModelOpening, context: Digest) -> bytes | None:
        """See `ProofSystem.prove_wellformed`."""
        check_bounds(self.shape, opening.theta)
        if not self.wellformed:
            return None
        return _wellformed(self.commitments.commit(opening), context)

    def verify_wellformed(self, commitment: bytes, context: Digest, proof: bytes | None) -> None:
        """See `ProofSystem.verify_wellformed`."""
        if len(commitment) != ENTRY_BYTES * self.shape.parameters:
            raise Rejected(Reason.COMMITMENT_MALFORMED, f"{len(commitment)} bytes")
        if proof != (_wellformed(commitment, context) if self.wellformed else None):
            raise Rejected(Reason.COMMITMENT_NOT_WELLFORMED, "not the fake proof of it")

    def prove(self, statement: Statement, opening: ModelOpening, progress: Progress) -> bytes:
        """See `ProofSystem.prove`."""
        progress("pretending", 0.5)
        batch = statement.batch
        count = count_correct(self.shape, opening.theta, batch.inputs, batch.labels)
        opens = self.commitments.commit(opening) == statement.commitment
        if count != statement.count or batch.size != self.batch_size or not opens:
            raise ProvingFailed(Obstacle.UNSATISFIED, "the statement is false")
        return _proof(statement)

    def verify(self, statement: Statement, proof: bytes) -> None:
        """See `ProofSystem.verify`."""
        if proof != _proof(statement):
            raise Rejected(Reason.PROOF_INVALID, "not the fake proof of this statement")


def _wellformed(commitment: bytes, context: Digest) -> bytes:
    return digest("fake-wellformed", commitment, context)


def _proof(statement: Statement) -> bytes:
    count = statement.count.to_bytes(8, "big")
    return digest(
        "fake-proof", statement.commitment, statement.batch.digest, statement.context, count
    )
