"""What a transaction offers to pay, and what it offers when it is sent again: pure."""

from dataclasses import dataclass

from web3.types import Wei

GWEI = 10**9


@dataclass(frozen=True)
class Fees:
    """Per gas, in wei. Without `priority` the chain has no base fee (before EIP-1559)."""

    most: int
    priority: int | None

    @property
    def fields(self) -> dict[str, Wei]:
        """As they stand in a transaction."""
        if self.priority is None:
            return {"gasPrice": Wei(self.most)}
        return {"maxFeePerGas": Wei(self.most), "maxPriorityFeePerGas": Wei(self.priority)}


def suggested(base: int | None, tip: int, cap: int) -> Fees:
    """Room for the base fee to double, which takes six full blocks; never above `cap`.

    `tip` is the whole gas price where there is no base fee.
    """
    if base is None:
        return Fees(min(tip, cap), None)
    most = min(2 * base + tip, cap)
    return Fees(most, min(tip, most))


def raised(old: Fees, wanted: Fees, cap: int) -> Fees | None:
    """A quarter more than `old`, or `wanted` if that is more; None beyond `cap`.

    Nodes take a replacement only at a tenth more (go-ethereum) in both fields.
    """
    most = max(_quarter_more(old.most), wanted.most)
    if most > cap:
        return None
    if old.priority is None or wanted.priority is None:
        return Fees(most, None)
    return Fees(most, min(most, max(_quarter_more(old.priority), wanted.priority)))


def _quarter_more(fee: int) -> int:
    return fee + fee // 4 + 1
