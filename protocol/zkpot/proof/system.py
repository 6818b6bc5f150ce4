"""The interface every proof system implements, bound to one shape and batch size.

`Commitments` is the homomorphic half that aggregation needs; `ProofSystem` adds proving.
Implementations are pure functions of their arguments: callers decide in which process and
within which limits they run (see `child`). Verification returns nothing or raises
`Rejected`; a prover that cannot go on raises `ProvingFailed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Protocol, TypeAlias

from zkpot.errors import ZkpotError
from zkpot.ids import Digest
from zkpot.model import Int64Array
from zkpot.statement import Statement

Progress: TypeAlias = Callable[[str, float], None]
"""Called with what is being done and the fraction that is done, from 0 to 1."""


def no_progress(_what: str, _fraction: float) -> None:
    """A `Progress` where nobody watches."""


@unique
class Obstacle(StrEnum):
    """Why a proof could not be made; the agent falls back as its profile says."""

    OUT_OF_MEMORY = "out-of-memory"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    UNSATISFIED = "unsatisfied"
    UNAVAILABLE = "unavailable"


class ProvingFailed(ZkpotError):
    """The prover could not finish; nothing about the model is in the message."""

    def __init__(self, obstacle: Obstacle, detail: str) -> None:
        super().__init__(f"{obstacle}: {detail}")
        self.obstacle = obstacle
        self.detail = detail

    def __reduce__(self) -> tuple[type["ProvingFailed"], tuple[Obstacle, str]]:
        return type(self), (self.obstacle, self.detail)


@dataclass(frozen=True, eq=False, repr=False)
class ModelOpening:
    """What opens a commitment: theta (int64 [P]) and the system's own blinding bytes."""

    theta: Int64Array
    blinding: bytes


class Commitments(Protocol):
    """Hiding, binding, additively homomorphic commitments to theta."""

    def random_blinding(self) -> bytes:
        """Fresh blinding from the operating system's randomness; used once, never again."""
        ...

    def commit(self, opening: ModelOpening) -> bytes:
        """The commitment that `opening` opens."""
        ...

    def add(self, commitments: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """Commitment to the weighted sum of what `commitments` hold."""
        ...

    def add_openings(
        self, openings: Sequence[ModelOpening], weights: Sequence[int]
    ) -> ModelOpening:
        """The opening of `add` of the openings' commitments."""
        ...

    def check_opening(self, commitment: bytes, opening: ModelOpening) -> None:
        """Raises `Rejected` (OPENING_INVALID) unless `opening`, possibly a sum, opens it."""
        ...


class ProofSystem(Protocol):
    """Proves the accuracy of a committed model on a batch."""

    @property
    def id(self) -> str:
        """Name and version, as the task names it: `ezkl/1`, `sumcheck/1`."""
        ...

    @property
    def commitments(self) -> Commitments:
        """The commitment scheme the proofs are about."""
        ...

    def prepare(self, progress: Progress) -> None:
        """Makes or loads whatever keys the shape needs; cheap when they are there."""
        ...

    def prove_wellformed(self, opening: ModelOpening, context: Digest) -> bytes | None:
        """Proof that the committed entries are in bounds; None if the system has none."""
        ...

    def verify_wellformed(self, commitment: bytes, context: Digest, proof: bytes | None) -> None:
        """Checks form and well-formedness of a commitment; raises `Rejected`."""
        ...

    def prove(self, statement: Statement, opening: ModelOpening, progress: Progress) -> bytes:
        """A proof of `statement`, whose count must be the true one."""
        ...

    def verify(self, statement: Statement, proof: bytes) -> None:
        """Raises `Rejected` unless `proof` proves exactly `statement`."""
        ...
