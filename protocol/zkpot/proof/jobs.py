"""What agents, aggregators and validators let a child process do with a proof system.

Each function takes the child's progress report and a `Backend` first, so that it can be
handed to `child.run` as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array, Shape
from zkpot.proof import registry
from zkpot.proof.system import ModelOpening, Progress, ProofSystem, no_progress
from zkpot.statement import Statement

Verdict: TypeAlias = tuple[Reason, str] | None
"""None if it holds, otherwise why not."""


@dataclass(frozen=True)
class Backend:
    """Names a proof system: the arguments of `registry.load`."""

    system_id: str
    shape: Shape
    batch_size: int
    cache_dir: Path
    srs: str
    ezkl_binary: Path | None = None

    def load(self) -> ProofSystem:
        """The system; see `registry.load`."""
        return registry.load(
            self.system_id,
            self.shape,
            self.batch_size,
            cache_dir=self.cache_dir,
            srs=self.srs,
            ezkl_binary=self.ezkl_binary,
        )

    def prepared(self) -> ProofSystem:
        """The system with its keys at hand, for whoever has nobody to show progress to."""
        system = self.load()
        system.prepare(no_progress)
        return system


def prepare(progress: Progress, backend: Backend) -> None:
    """Makes the keys of the shape, if they are not there."""
    backend.load().prepare(progress)


def commit(progress: Progress, backend: Backend, theta: Int64Array) -> tuple[bytes, ModelOpening]:
    """A commitment to theta with fresh blinding, and what opens it."""
    progress("committing", 0.0)
    commitments = backend.load().commitments
    opening = ModelOpening(theta, commitments.random_blinding())
    return commitments.commit(opening), opening


def prove(
    progress: Progress, backend: Backend, statement: Statement, opening: ModelOpening
) -> bytes:
    """See `ProofSystem.prove`."""
    return backend.load().prove(statement, opening, progress)


def verify(
    progress: Progress, backend: Backend, submissions: Sequence[tuple[Statement, bytes]]
) -> list[Verdict]:
    """Judges every (statement, proof); one that is rejected does not stop the others."""
    system = backend.load()
    verdicts: list[Verdict] = []
    for number, (statement, proof) in enumerate(submissions):
        progress("verifying", number / len(submissions))
        try:
            system.verify(statement, proof)
        except Rejected as error:
            verdicts.append((error.reason, error.detail))
        else:
            verdicts.append(None)
    return verdicts
