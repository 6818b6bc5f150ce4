"""Which rule a task's name means.

`fedavg`, `median`, `trimmed-mean:20`, `krum:2`, `multi-krum:2:5`, `norm-clipping:1000`: the
numbers are the fields of the rule's own class, in order.
"""

from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array
from zkpot_aggregator.rules.base import Rule
from zkpot_aggregator.rules.fedavg import FedAvg
from zkpot_aggregator.rules.krum import Krum
from zkpot_aggregator.rules.median import Median
from zkpot_aggregator.rules.multi_krum import MultiKrum
from zkpot_aggregator.rules.norm_clipping import NormClipping
from zkpot_aggregator.rules.trimmed_mean import TrimmedMean


def parse_rule(text: str, reference: Int64Array) -> Rule:
    """The rule of that name; `reference` is the integer model the round starts from.

    Raises `Rejected` (TASK_INVALID) for a name or number that is none.
    """
    name, *rest = text.split(":")
    try:
        numbers = [int(each) for each in rest]
        if rest != [str(number) for number in numbers]:
            raise ValueError("a number in an odd form")  # noqa: TRY301 - one place refuses
        return _rule(name, numbers, reference)
    except ValueError as error:
        raise Rejected(Reason.TASK_INVALID, f"no rule {text[:40]!r}: {error}") from error


def _rule(name: str, numbers: list[int], reference: Int64Array) -> Rule:
    match name, numbers:
        case "fedavg", []:
            return FedAvg()
        case "median", []:
            return Median()
        case "trimmed-mean", [percent]:
            return TrimmedMean(percent)
        case "krum", [liars]:
            return Krum(liars)
        case "multi-krum", [liars, keep]:
            return MultiKrum(liars, keep)
        case "norm-clipping", [bound]:
            return NormClipping(reference, bound)
        case _:
            raise ValueError("unknown name, or another number of numbers")
