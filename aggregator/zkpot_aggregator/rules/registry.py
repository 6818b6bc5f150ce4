"""Which rule a task's aggregation means: its numbers are the rule's own, in order."""

import numpy as np

from zkpot.aggregation import Aggregation
from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import Rule
from zkpot_aggregator.rules.fedavg import FedAvg
from zkpot_aggregator.rules.krum import Krum
from zkpot_aggregator.rules.median import Median
from zkpot_aggregator.rules.multi_krum import MultiKrum
from zkpot_aggregator.rules.norm_clipping import NormClipping
from zkpot_aggregator.rules.trimmed_mean import TrimmedMean


def find_rule(aggregation: Aggregation, reference: Int64Array) -> Rule:
    """The rule of plain aggregation; `reference` is the integer model the round starts from.

    Raises `Rejected` (TASK_INVALID) for numbers that the rule cannot have.
    """
    try:
        return _rule(aggregation, reference)
    except ValueError as error:
        raise Rejected(Reason.TASK_INVALID, f"{aggregation.rule}: {error}") from error


def _rule(aggregation: Aggregation, reference: Int64Array) -> Rule:
    match aggregation.rule, aggregation.numbers:
        case "fedavg", ():
            return FedAvg()
        case "median", ():
            return Median()
        case "trimmed-mean", (percent,):
            return TrimmedMean(percent)
        case "krum", (liars,):
            return Krum(liars)
        case "multi-krum", (liars, keep):
            return MultiKrum(liars, keep)
        case "norm-clipping", (bound,):
            return NormClipping(reference, bound)
        case _:
            raise ValueError("no rule of plain aggregation")


def models_needed(aggregation: Aggregation) -> int:
    """How many models there must be; raises `Rejected` (TASK_INVALID) like `find_rule`."""
    if aggregation.is_secure:
        return 1
    return find_rule(aggregation, np.zeros(0, np.int64)).at_least


def check_rule(aggregation: Aggregation, minimum_devices: int) -> None:
    """Raises `Rejected` (TASK_INVALID) if a task with so many devices could not apply the rule."""
    needed = models_needed(aggregation)
    if minimum_devices < needed:
        raise Rejected(
            Reason.TASK_INVALID,
            f"{aggregation.rule} needs {needed} models, minimum_devices is {minimum_devices}",
        )
