"""What an audit found: a line per round, the task's weak assumptions, and the first fault."""

from dataclasses import dataclass, field

from zkpot.errors import Reason
from zkpot.ids import DeviceId, Round, TaskId
from zkpot_aggregator.ledger.views import Phase


@dataclass(frozen=True)
class RoundFinding:
    """A round as it stands: what was proven in it, and how many checks it passed."""

    round: Round
    phase: Phase
    leader: DeviceId | None
    count: int
    total: int
    accepted: int
    rejected: int
    summed: int
    checks: int
    notes: tuple[str, ...]


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
