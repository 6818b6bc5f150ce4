"""Verifying many proofs over one batch at once, where a proof system knows how."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from zkpot.errors import Rejected
from zkpot.proof.system import ProofSystem
from zkpot.statement import Statement


@runtime_checkable
class VerifiesMany(Protocol):
    """A proof system that verifies proofs over one batch faster together than one by one."""

    def verify_many(
        self, statements: Sequence[Statement], proofs: Sequence[bytes]
    ) -> list[Rejected | None]:
        """Per proof None, or that it is refused."""
        ...


def verify_together(
    system: ProofSystem, claims: Sequence[tuple[Statement, bytes]]
) -> list[Rejected | None]:
    """For each statement, all about one batch, and its proof: None, or why it is refused.

    What is refused among others is verified by itself, which decides.
    """
    if not isinstance(system, VerifiesMany):
        return [_alone(system, *claim) for claim in claims]
    together = system.verify_many([each for each, _ in claims], [proof for _, proof in claims])
    return [
        None if refusal is None else _alone(system, *claim)
        for claim, refusal in zip(claims, together, strict=True)
    ]


def _alone(system: ProofSystem, statement: Statement, proof: bytes) -> Rejected | None:
    try:
        system.verify(statement, proof)
    except Rejected as rejection:
        return rejection
    return None
