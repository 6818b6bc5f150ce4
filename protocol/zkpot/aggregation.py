"""How a round's models become the next global model, as a task names it.

`secure` adds models that nobody sees; `plain:RULE` lets the operator see them and combines
them with a rule. `plain:trimmed-mean:20`, `plain:krum:2`, `plain:multi-krum:2:5` and
`plain:norm-clipping:1000` take their numbers along.
"""

from dataclasses import dataclass
from typing import Annotated

from zkpot.errors import Reason, Rejected
from zkpot.wire.codec import Span

SECURE = "secure"
FEDAVG = "fedavg"

RULE_TO_NUMBERS = {
    FEDAVG: 0,
    "median": 0,
    "trimmed-mean": 1,
    "krum": 1,
    "multi-krum": 2,
    "norm-clipping": 1,
}
"""The rules of plain aggregation, and how many numbers each takes."""

MAX_GROUP_SIZE = 64
"""Everyone in a group masks against everyone else: the work grows with the square."""

MAX_GROUP = 3 * MAX_GROUP_SIZE
"""Three that were each too small, joined; Shamir indices are single bytes."""

MAX_NUMBER = 1_000_000_000


@dataclass(frozen=True)
class GroupTerms:
    """Secure aggregation: members a group has at most, and those below which none is summed."""

    size: Annotated[int, Span(1, MAX_GROUP_SIZE)]
    minimum: Annotated[int, Span(1, MAX_GROUP_SIZE)]

    def __post_init__(self) -> None:
        if self.minimum > self.size:
            raise Rejected(Reason.TASK_INVALID, f"groups of {self.minimum} to {self.size}")


@dataclass(frozen=True)
class Aggregation:
    """A parsed name. `rule` is None in secure mode, which is FedAvg over hidden models."""

    rule: str | None
    numbers: tuple[int, ...] = ()

    @property
    def is_secure(self) -> bool:
        """Whether nobody sees a model."""
        return self.rule is None

    @property
    def is_sum(self) -> bool:
        """Whether the new model opens the sum of commitments, so that anyone can check it."""
        return self.rule in (None, FEDAVG)


def parse_aggregation(text: str) -> Aggregation:
    """Reads the name; raises `Rejected` (TASK_INVALID) for one that no task can have."""
    if text == SECURE:
        return Aggregation(None)
    mode, _, rest = text.partition(":")
    rule, *words = rest.split(":")
    if mode != "plain" or RULE_TO_NUMBERS.get(rule) != len(words):
        known = ", ".join(f"plain:{name}" + ":N" * n for name, n in RULE_TO_NUMBERS.items())
        raise Rejected(
            Reason.TASK_INVALID, f"aggregation {text!r}: expected one of {SECURE}, {known}"
        )
    try:
        numbers = tuple(map(int, words))
    except ValueError as error:
        raise Rejected(Reason.TASK_INVALID, f"aggregation {text!r}: {error}") from error
    if list(map(str, numbers)) != words or not all(0 <= n <= MAX_NUMBER for n in numbers):
        raise Rejected(Reason.TASK_INVALID, f"aggregation {text!r}: a number out of range")
    return Aggregation(rule, numbers)
