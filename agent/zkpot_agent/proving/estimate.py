"""How long a proof will take on this device and how much memory, from one measured proof.

Time and memory grow in proportion to the batch (docs/benchmarks.md); what the interpreter
holds does not. Estimates are on the safe side by a fixed factor: a board that is warm or busy
is slower than it was when it was measured.
"""

from dataclasses import dataclass
from typing import Annotated

from zkpot.wire.codec import Max

MARGIN = 1.5

REFERENCE_BATCH = 100
"""Samples of the measured proof, where the proof system lets us choose."""


@dataclass(frozen=True)
class Measured:
    """A proof that was made on this device, of `batch` samples; integers, for the journal.

    `proof_system`, `widths` and `cores` say what of. If it could not be made, `problem` says
    why and the numbers are 0.
    """

    proof_system: Annotated[str, Max(40)]
    widths: Annotated[str, Max(80)]
    cores: int
    batch: int
    prove_ms: int
    interpreter_kb: int
    peak_kb: int
    problem: Annotated[str, Max(200)] = ""


@dataclass(frozen=True)
class Estimate:
    """Of one proof: seconds, and MB (10^6 bytes) of its process."""

    seconds: float
    memory_mb: float


def estimate(measured: Measured, batch: int) -> Estimate:
    """For a proof of `batch` samples; `measured` must be one that succeeded."""
    scale = MARGIN * max(batch / measured.batch, 1.0)
    grown_kb = (measured.peak_kb - measured.interpreter_kb) * scale
    return Estimate(measured.prove_ms / 1e3 * scale, (measured.interpreter_kb + grown_kb) / 1e3)


def obstacle(
    measured: Measured | None, batch: int, memory_mb: int | None, seconds: float
) -> str | None:
    """Why a proof of `batch` samples does not fit this device; None if it does."""
    if measured is None:
        return "nothing was measured on this device"
    if measured.problem:
        return f"the trial proof failed: {measured.problem}"
    needed = estimate(measured, batch)
    # The limit of a child process is in MiB.
    if memory_mb is not None and needed.memory_mb > memory_mb * 1.048576:
        return f"needs about {needed.memory_mb:.0f} MB, the limit is {memory_mb} MiB"
    if needed.seconds > seconds:
        return f"needs about {needed.seconds:.1f} s, {seconds:.0f} s are left"
    return None
