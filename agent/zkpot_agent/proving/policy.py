"""Where a proof is made: here or at a prover, and what else is tried if that fails.

`local` proves here. `offload` asks a prover, and proves here if all fail and it fits. `auto`
proves here if that fits memory and deadline, else asks a prover. Whatever comes second gets
the time that the first has left; some is kept for it, because an estimate can be wrong.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum, unique
from typing import Protocol

from zkpot.ids import Round
from zkpot.journal import Journal
from zkpot.proof.jobs import Backend
from zkpot.proof.system import Obstacle, Progress, ProvingFailed
from zkpot_agent.config import LimitsConfig, ProveMode
from zkpot_agent.proving.benchmark import benchmark
from zkpot_agent.proving.estimate import Measured, estimate, obstacle
from zkpot_agent.proving.request import ProofRequest, prove_locally

SUBMISSION_SHARE = 0.1
"""Of the PROVE deadline: kept for the proof's way to the aggregator."""


@unique
class Way(StrEnum):
    """One way to a proof."""

    LOCAL = "local"
    OFFLOAD = "offload"


class Offload(Protocol):
    """Asks the provers that the device's owner allows."""

    async def prove(self, request: ProofRequest, progress: Progress) -> bytes:
        """A proof that was verified here, within the request's deadline; or `ProvingFailed`."""
        ...


def ways(mode: ProveMode, *, fits: bool, provers: bool) -> tuple[Way, ...]:
    """What to try, in this order; nothing if the device has to decline."""
    local = (Way.LOCAL,) if fits else ()
    offload = (Way.OFFLOAD,) if provers else ()
    match mode:
        case ProveMode.LOCAL:
            return (Way.LOCAL,)
        case ProveMode.OFFLOAD:
            return offload + local
        case ProveMode.AUTO:
            return local + offload


def kept_for(later: tuple[Way, ...], left: float, local_seconds: float) -> float:
    """Of the seconds that are left, those for what is tried later.

    A local proof is kept the time that it needs; provers half of all, but nothing of what a local
    proof needs.
    """
    if Way.LOCAL in later:
        return local_seconds
    if Way.OFFLOAD in later:
        return max(0.0, min(left / 2, left - local_seconds))
    return 0.0


class ProvingPolicy:
    """Makes a device's proofs as its owner's configuration says."""

    def __init__(
        self,
        mode: ProveMode,
        journal: Journal,
        offload: Offload | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode = mode
        self._journal = journal
        self._offload = offload
        self._clock = clock
        self._measured: Measured | None = None
        self._due: tuple[Round, float] = (Round(0), 0.0)

    async def prepare(
        self, backend: Backend, limits: LimitsConfig, deadline_s: float, progress: Progress
    ) -> None:
        """Measures this device once, if the mode depends on it."""
        if self._mode is not ProveMode.LOCAL:
            self._measured = await benchmark(self._journal, backend, limits, deadline_s, progress)

    async def prove(self, request: ProofRequest, progress: Progress) -> bytes:
        """The proof; raises `ProvingFailed` with what was tried. A `MakeProof`."""
        due = self._due_at(request)
        unfit = obstacle(
            self._measured,
            request.statement.batch.size,
            request.limits.memory_mb,
            due - self._clock(),
        )
        plan = ways(self._mode, fits=unfit is None, provers=self._offload is not None)
        problems = [] if Way.LOCAL in plan else [f"local: {unfit}"]
        if self._offload is None and self._mode is not ProveMode.LOCAL:
            problems.append("offload: no prover is allowed")
        for position, way in enumerate(plan):
            left = due - self._clock()
            reserve = kept_for(plan[position + 1 :], left, self._local_seconds(request))
            try:
                return await self._go(way, replace(request, deadline_s=left - reserve), progress)
            except ProvingFailed as failure:
                problems.append(f"{way}: {failure}")
        raise ProvingFailed(Obstacle.UNAVAILABLE, "; ".join(problems))

    async def _go(self, way: Way, request: ProofRequest, progress: Progress) -> bytes:
        if request.deadline_s <= 0:
            raise ProvingFailed(Obstacle.TIMEOUT, "no time is left")
        if way is Way.LOCAL or self._offload is None:
            return await prove_locally(request, progress)
        return await self._offload.prove(request, progress)

    def _local_seconds(self, request: ProofRequest) -> float:
        if self._measured is None:
            return 0.0
        return estimate(self._measured, request.statement.batch.size).seconds

    def _due_at(self, request: ProofRequest) -> float:
        """A proof that is tried again has the time that the first attempt has left."""
        known, due = self._due
        if known != request.round:
            due = self._clock() + request.deadline_s * (1 - SUBMISSION_SHARE)
            self._due = (request.round, due)
        return due
