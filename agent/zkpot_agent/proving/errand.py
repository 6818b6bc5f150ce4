"""One proof fetched from the provers: carries out what `placement` decides.

A proof counts once it was verified here, in a child process, against our own statement.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

from zkpot.cid import Cid
from zkpot.errors import Rejected, Transient
from zkpot.ids import DeviceId, device_text
from zkpot.offload import make_job, seal_job
from zkpot.proof import child, jobs
from zkpot.proof.system import Obstacle, Progress, ProvingFailed
from zkpot_agent.proving import placement as at
from zkpot_agent.proving.request import ProofRequest

_logger = logging.getLogger(__name__)

HEARING_S = 0.1
"""Before a prover counts as silent: this device itself may have been, on a slow disk or asleep."""


class Channel(Protocol):
    """What an errand needs of the link to the provers."""

    def offer(self, prover: DeviceId, sealed: bytes, within_s: int) -> Cid:
        """Offers a sealed job and lets the prover fetch it; returns the job's name."""
        ...

    def withdraw(self, prover: DeviceId, job: Cid) -> None:
        """Takes an offer back, and forgets what was sealed."""
        ...

    async def fetch(
        self, proof: Cid, prover: DeviceId, deadline_s: float, arriving: Callable[[], None]
    ) -> bytes:
        """A proof; raises `Rejected` or `Transient`. Calls `arriving` for every part."""
        ...


class Errand:
    """Run it once; `tell` it what the provers say. `placement` must not have begun."""

    def __init__(
        self,
        channel: Channel,
        device: DeviceId,
        request: ProofRequest,
        placement: at.Placement,
        until: float,
    ) -> None:
        self._channel = channel
        self._device = device
        self._request = request
        self._placement = placement
        self._until = until
        self._happenings: asyncio.Queue[at.Happening] = asyncio.Queue()
        self._fetching: asyncio.Task[None] | None = None
        self._unheard: int | None = None
        self._outcome: at.Finish | at.GiveUp | None = None

    def tell(self, happening: at.Happening) -> None:
        """Takes what happened; returns at once."""
        self._happenings.put_nowait(happening)

    async def run(self, progress: Progress) -> bytes:
        """The verified proof; raises `ProvingFailed` (UNAVAILABLE) if nobody gave one."""
        try:
            self._carry_out(self._placement.start(time.monotonic()))
            while self._outcome is None:
                happening = await self._next()
                self._carry_out(self._placement.step(happening, time.monotonic()))
                progress("proving at a prover", self._placement.progress)
        finally:
            self._stop_fetching()
        if isinstance(self._outcome, at.GiveUp):
            raise ProvingFailed(Obstacle.UNAVAILABLE, self._outcome.why)
        return self._outcome.proof

    async def _next(self) -> at.Happening:
        """What has come, or a tick once nothing is left of what came until the tick was due."""
        pause = self._placement.wakes_at - time.monotonic()
        if pause > 0:
            self._unheard = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    return await self._happenings.get()
        if self._unheard is None:
            await asyncio.sleep(HEARING_S)
            # No more than that: a prover that talks all the time must not delay the tick.
            self._unheard = self._happenings.qsize()
        if self._unheard:
            self._unheard -= 1
            return self._happenings.get_nowait()
        self._unheard = None
        return at.Tick()

    def _carry_out(self, actions: list[at.Action]) -> None:
        for action in actions:
            match action:
                case at.SealTo():
                    # At once, before any other happening: what is offered is withdrawn one day.
                    self._carry_out(self._placement.step(self._offer(action), time.monotonic()))
                case at.FetchProof(prover, proof):
                    self._stop_fetching()
                    self._fetching = asyncio.create_task(self._fetch(prover, proof))
                case at.Withdraw(prover, job):
                    self._stop_fetching()
                    self._channel.withdraw(prover, job)
                case at.Finish() | at.GiveUp():
                    self._outcome = action

    def _offer(self, to: at.SealTo) -> at.Sealed | at.Refused:
        request, backend = self._request, self._request.backend
        job = make_job(
            self._device,
            to.prover,
            backend.system_id,
            backend.srs,
            backend.shape,
            request.statement,
            request.opening,
        )
        _logger.info("round %d: offering a proof to %s", request.round, device_text(to.prover))
        within_s = max(1, math.floor(to.within_s))
        try:
            sealed = seal_job(to.box_key, job)
        except Rejected as rejection:
            return at.Refused(None, str(rejection))
        return at.Sealed(self._channel.offer(to.prover, sealed, within_s))

    async def _fetch(self, prover: DeviceId, cid: Cid) -> None:
        try:
            proof = await self._channel.fetch(
                cid,
                prover,
                self._until - time.monotonic(),
                lambda: self.tell(at.Arriving(cid, all=False)),
            )
            self.tell(at.Arriving(cid, all=True))
            await self._verify(proof)
        except (Rejected, Transient, ProvingFailed) as failure:
            _logger.warning("no proof from %s: %s", device_text(prover), failure)
            self.tell(at.Refused(cid, str(failure)))
        else:
            self.tell(at.Verified(proof))

    async def _verify(self, proof: bytes) -> None:
        request = self._request
        (verdict,) = await child.run(
            jobs.verify,
            request.backend,
            [(request.statement, proof)],
            limits=request.limits.of(request.deadline_s),
        )
        if verdict is not None:
            raise Rejected(*verdict)

    def _stop_fetching(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None
