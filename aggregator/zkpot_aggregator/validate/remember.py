"""A proof system that does not verify the same proof twice.

A validator looks at each proof when it endorses, and again when the record is there.
"""

from collections.abc import Sequence

from zkpot.errors import Rejected
from zkpot.ids import Digest, digest
from zkpot.proof.system import Commitments, ModelOpening, Progress, ProofSystem
from zkpot.proof.together import verify_together
from zkpot.statement import Statement


class RememberingSystem:
    """Passes everything on to `system`, and remembers what was found valid until `forget`."""

    def __init__(self, system: ProofSystem) -> None:
        self._system = system
        self._valid: set[Digest] = set()

    @property
    def id(self) -> str:
        """See `ProofSystem.id`."""
        return self._system.id

    @property
    def commitments(self) -> Commitments:
        """See `ProofSystem.commitments`."""
        return self._system.commitments

    def forget(self) -> None:
        """Starts afresh: proofs of an earlier round are not asked about again."""
        self._valid.clear()

    def prepare(self, progress: Progress) -> None:
        """See `ProofSystem.prepare`."""
        self._system.prepare(progress)

    def prove_wellformed(self, opening: ModelOpening, context: Digest) -> bytes | None:
        """See `ProofSystem.prove_wellformed`."""
        return self._system.prove_wellformed(opening, context)

    def verify_wellformed(self, commitment: bytes, context: Digest, proof: bytes | None) -> None:
        """See `ProofSystem.verify_wellformed`."""
        name = digest("wellformed", commitment, context, *([] if proof is None else [proof]))
        if name not in self._valid:
            self._system.verify_wellformed(commitment, context, proof)
            self._valid.add(name)

    def prove(self, statement: Statement, opening: ModelOpening, progress: Progress) -> bytes:
        """See `ProofSystem.prove`."""
        return self._system.prove(statement, opening, progress)

    def verify(self, statement: Statement, proof: bytes) -> None:
        """See `ProofSystem.verify`."""
        name = _name(statement, proof)
        if name not in self._valid:
            self._system.verify(statement, proof)
            self._valid.add(name)

    def verify_many(
        self, statements: Sequence[Statement], proofs: Sequence[bytes]
    ) -> list[Rejected | None]:
        """See `VerifiesMany`."""
        claims = list(zip(statements, proofs, strict=True))
        names = [_name(*claim) for claim in claims]
        new = [place for place, name in enumerate(names) if name not in self._valid]
        outcomes: list[Rejected | None] = [None] * len(claims)
        judged = verify_together(self._system, [claims[place] for place in new])
        for place, refusal in zip(new, judged, strict=True):
            outcomes[place] = refusal
            if refusal is None:
                self._valid.add(names[place])
        return outcomes


def _name(statement: Statement, proof: bytes) -> Digest:
    count = statement.count.to_bytes(8, "big")
    return digest(
        "proof", statement.commitment, statement.batch.digest, statement.context, count, proof
    )
