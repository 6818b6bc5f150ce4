"""A proof that is due, and the plain way to make it: in a child process of this device."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from zkpot.ids import Round
from zkpot.proof import child, jobs
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening, Progress
from zkpot.statement import Statement
from zkpot_agent.config import LimitsConfig


@dataclass(frozen=True, eq=False, repr=False)
class ProofRequest:
    """What to prove, within which limits, and the seconds that the round gives for it."""

    round: Round
    backend: Backend
    statement: Statement
    opening: ModelOpening
    limits: LimitsConfig
    deadline_s: float


MakeProof: TypeAlias = Callable[[ProofRequest, Progress], Awaitable[bytes]]
"""Raises `ProvingFailed` if there is no way to a proof in time."""


async def prove_locally(request: ProofRequest, progress: Progress) -> bytes:
    """The proof, made on this device within its limits."""
    return await child.run(
        jobs.prove,
        request.backend,
        request.statement,
        request.opening,
        limits=request.limits.of(request.deadline_s),
        progress=progress,
    )
