"""What an audit found: a line per round, the task's weak assumptions, and the first fault."""

from dataclasses import dataclass, field
from enum import StrEnum, unique

from zkpot.errors import Reason
from zkpot.ids import DeviceId, Round, TaskId
from zkpot_aggregator.ledger.views import Phase


@unique
class Standing(StrEnum):
    """What became of a round. A task without validators has closed rounds, and none is final."""

    CLOSED = "closed"
    FINAL = "final"
    UNATTESTED = "unattested"
    REJECTED = "rejected"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class RoundFinding:
    """A round as it stands: what was proven in it, and how many checks it passed.

    `sealed`: its commitments were. `verified`: nothing of it was taken on trust.
    """

    round: Round
    phase: Phase
    standing: Standing
    sealed: bool
    checks: int
    notes: tuple[str, ...]
    verified: bool = True
    leader: DeviceId | None = None
    count: int = 0
    total: int = 0
    accepted: int = 0
    rejected: int = 0
    summed: int = 0


@dataclass(frozen=True)
class Fault:
    """The check that failed, in which round (0: the task itself), and for which device."""

    round: Round
    check: str
    reason: Reason
    detail: str
    device: DeviceId | None


@dataclass
class AuditReport:
    """The result of an audit. It is clean if no fault was found.

    `sums_checked`: new global models are compared with the commitments.
    """

    task: TaskId
    proof_system: str = ""
    sums_checked: bool = False
    rounds: list[RoundFinding] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Whether everything was found right."""
        return self.fault is None

    @property
    def checks(self) -> int:
        """How many checks passed."""
        return sum(finding.checks for finding in self.rounds)

    @property
    def complete(self) -> bool:
        """Whether every round was re-verified."""
        return all(finding.verified for finding in self.rounds)

    @property
    def failed_after_seal(self) -> int:
        """How many rounds failed once it was known who had committed to what."""
        return sum(each.sealed and each.standing is Standing.FAILED for each in self.rounds)
