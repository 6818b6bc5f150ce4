"""The accountant: Google's dp-accounting (Apache-2.0), the extra `dp`.

Renyi differential privacy (Mironov 2017, arXiv 1702.07476): an upper bound that composes
releases of different noise, and takes no time on a device.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from zkpot.errors import ExitCode, Fatal
from zkpot_agent.privacy.budget import MICRO, Epsilon, Spent

MISSING = "differential privacy needs the extra dp: pip install zkpot[dp]"


def require_accountant() -> None:
    """Raises `Fatal` if the extra is not installed; does not load it."""
    if find_spec("dp_accounting") is None:
        raise Fatal(ExitCode.DEPENDENCY, MISSING)


def load_accountant() -> Epsilon:
    """The function that says what was spent; raises `Fatal` if the extra is not installed."""
    try:
        events: Any = import_module("dp_accounting")
        renyi: Any = import_module("dp_accounting.rdp")
    except ImportError as error:
        raise Fatal(ExitCode.DEPENDENCY, MISSING) from error

    def epsilon(spent: Spent, delta: float) -> float:
        accountant = renyi.RdpAccountant()
        for item in spent.releases:
            accountant.compose(events.GaussianDpEvent(item.noise_micro / MICRO), item.count)
        return float(accountant.get_epsilon(delta))

    return epsilon
