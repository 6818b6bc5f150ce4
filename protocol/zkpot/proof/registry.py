"""Names of proof systems, and the one place that turns a name into a system."""

import importlib
import importlib.util
from pathlib import Path

from zkpot.errors import Reason, Rejected
from zkpot.model import Shape
from zkpot.proof.system import Obstacle, ProofSystem, ProvingFailed

EZKL = "ezkl/1"
SUMCHECK = "sumcheck/1"

NAME_TO_SYSTEM = {"sumcheck": SUMCHECK, "ezkl": EZKL}
"""How command lines name them."""

SYSTEM_TO_PACKAGE = {EZKL: "ezkl", SUMCHECK: "zkpot_prover"}
"""The package each system cannot do without."""


def installed() -> tuple[str, ...]:
    """Ids of the systems that can be used here."""
    return tuple(
        system
        for system, package in SYSTEM_TO_PACKAGE.items()
        if importlib.util.find_spec(package) is not None
    )


def available() -> tuple[str, ...]:
    """Ids of the systems this version knows, whether or not their extra is installed."""
    return (EZKL, SUMCHECK)


def load(
    system_id: str,
    shape: Shape,
    batch_size: int,
    *,
    cache_dir: Path,
    srs: str,
    ezkl_binary: Path | None = None,
) -> ProofSystem:
    """The system a task names; `srs`, `cache_dir` and `ezkl_binary` matter to `ezkl/1` only.

    Raises `Rejected` (TASK_INVALID) for an unknown id or a shape the system cannot take,
    `ProvingFailed` (UNAVAILABLE) if its extra is not installed.
    """
    # Each is imported when it is named, because it needs packages of its own extra.
    if system_id == EZKL:
        from zkpot.proof.ezkl.backend import EzklSystem  # noqa: PLC0415

        return EzklSystem(shape, batch_size, cache_dir, srs, ezkl_binary)
    if system_id == SUMCHECK:
        try:
            sumcheck = importlib.import_module("zkpot.proof.sumcheck")
        except ImportError as error:
            raise ProvingFailed(
                Obstacle.UNAVAILABLE,
                "sumcheck/1 is not installed: pip install 'zkpot[sumcheck]'",
            ) from error
        system: ProofSystem = sumcheck.SumcheckSystem(shape, batch_size)
        return system
    raise Rejected(
        Reason.TASK_INVALID,
        f"proof system {system_id[:40]!r}: expected one of {', '.join(available())}",
    )
