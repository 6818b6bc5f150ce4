"""The one-off self-benchmark: a proof about a random model, kept in the device's journal."""

import secrets
from dataclasses import replace

from zkpot.errors import Rejected
from zkpot.journal import Journal
from zkpot.proof import child
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import SUMCHECK
from zkpot.proof.system import Progress, ProvingFailed
from zkpot.wire.codec import decode, encode
from zkpot_agent.config import LimitsConfig
from zkpot_agent.proving.estimate import REFERENCE_BATCH, Measured
from zkpot_agent.trial import trial

_KEY = "benchmark"
_MAX_BYTES = 4096


async def benchmark(
    journal: Journal,
    backend: Backend,
    limits: LimitsConfig,
    deadline_s: float,
    progress: Progress,
) -> Measured:
    """What was measured for this system, shape and number of cores; measured now if never yet.

    A trial that does not fit the device's limits or the deadline is a result too, until the next
    start: its cause may have passed, and the limits may be others.
    """
    batch = _reference_batch(backend)
    subject = Measured(backend.system_id, _widths(backend), limits.cores or 0, batch, 0, 0, 0)
    stored = journal.get(_KEY)
    if stored is not None:
        known = decode(Measured, stored, limit=_MAX_BYTES)
        if replace(known, prove_ms=0, interpreter_kb=0, peak_kb=0) == subject:
            return known
    measured = await _measure(
        subject, replace(backend, batch_size=batch), limits, deadline_s, progress
    )
    journal.transition({_KEY: encode(measured)})
    return measured


async def _measure(
    subject: Measured,
    backend: Backend,
    limits: LimitsConfig,
    deadline_s: float,
    progress: Progress,
) -> Measured:
    seed = secrets.randbits(32)
    try:
        found = await child.run(
            trial, backend, seed, limits=limits.of(deadline_s), progress=progress
        )
    except (ProvingFailed, Rejected) as failure:
        return replace(subject, problem=str(failure)[:200])
    return replace(
        subject,
        prove_ms=round(found.prove_s * 1e3),
        interpreter_kb=round(found.interpreter_mb * 1e3),
        peak_kb=round(found.peak_mb * 1e3),
    )


def _reference_batch(backend: Backend) -> int:
    """Another batch needs other keys where a system has keys, so there it is the task's own."""
    if backend.system_id == SUMCHECK:
        return min(backend.batch_size, REFERENCE_BATCH)
    return backend.batch_size


def _widths(backend: Backend) -> str:
    return "-".join(map(str, backend.shape.widths))[:80]
