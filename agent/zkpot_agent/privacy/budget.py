"""What a device's data set has spent, over all tasks and rounds.

A release is charged before its noise is drawn, and the charge must be on disk before the
model is used. What was spent with other settings still counts. Files that hold this belong
to the data set: a new budget for the same data is no budget.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from zkpot.errors import ZkpotError
from zkpot.wire.codec import Max, Span, decode, encode
from zkpot_agent.privacy.settings import MAX_ROUNDS_ACCOUNTED, PrivacySettings

MAX_ENTRIES = 1024
MICRO = 1_000_000


class BudgetExhausted(ZkpotError):
    """One more round would exceed the budget: the device sits out, and says so."""


@dataclass(frozen=True)
class Releases:
    """So many models were released with this noise multiplier (in millionths)."""

    noise_micro: Annotated[int, Span(1, 10**12)]
    count: Annotated[int, Span(1, MAX_ROUNDS_ACCOUNTED)]


@dataclass(frozen=True)
class Spent:
    """Everything released so far, by noise multiplier, smallest first."""

    releases: Annotated[tuple[Releases, ...], Max(MAX_ENTRIES)] = ()


Epsilon: TypeAlias = Callable[[Spent, float], float]
"""The epsilon, at a delta, of everything in `Spent` together: see `accountant`."""


@dataclass(frozen=True)
class Charge:
    """The budget after a release, and the epsilon to report with the round."""

    spent: Spent
    epsilon: float


def charge(spent: Spent, settings: PrivacySettings, epsilon: Epsilon) -> Charge:
    """Charges one more release; raises `BudgetExhausted` if it does not fit."""
    micro = int(settings.noise_multiplier * MICRO)  # down: less noise than there is
    noise_to_count = {item.noise_micro: item.count for item in spent.releases}
    noise_to_count[micro] = noise_to_count.get(micro, 0) + 1
    after = Spent(tuple(Releases(*item) for item in sorted(noise_to_count.items())))
    total = epsilon(after, settings.delta)
    if not total <= settings.epsilon:
        raise BudgetExhausted(
            f"one more round would make epsilon {total:.4g} at delta {settings.delta:g}, "
            f"the budget is {settings.epsilon:g}"
        )
    return Charge(after, total)


def encode_spent(spent: Spent) -> bytes:
    """For the device's journal."""
    return encode(spent)


def decode_spent(data: bytes) -> Spent:
    """Reads what `encode_spent` wrote; raises `Rejected` for anything else."""
    return decode(Spent, data, limit=64 * 1024)
