"""Carries out what the desk decides: fetches sealed jobs, has them proven, offers the proofs."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeAlias

from zkpot.cid import Cid, split_object
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import DeviceId, device_text
from zkpot.keys import KeyPair
from zkpot.link.base import Link
from zkpot.link.blocks import BlockExchange
from zkpot.link.held import HeldBlocks
from zkpot.proof.system import Obstacle, ProvingFailed
from zkpot.wire import topics
from zkpot_aggregator.prover import desk as at
from zkpot_aggregator.prover.config import ProverConfig
from zkpot_aggregator.prover.jobs import SealedJob

_logger = logging.getLogger(__name__)

FETCH_SECONDS = 120.0
"""A device that offers a job and is gone must not keep its place for long."""

ProveSealed: TypeAlias = Callable[[SealedJob], bytes]

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task whose failure ends the service, like `TaskGroup.create_task`."""


class Work:
    """One task at a time for each job; `report` takes what came of it."""

    def __init__(
        self,
        config: ProverConfig,
        key: KeyPair,
        pool: Executor,
        link: Link,
        *,
        prove: ProveSealed,
        report: Callable[[at.Happening], None],
        spawn: Spawn,
    ) -> None:
        self._config = config
        self._key = key
        self._pool = pool
        self._blocks = HeldBlocks()
        self.exchange = BlockExchange(
            link,
            key=key,
            store=self._blocks,
            address=partial(topics.to_device, key.id),
            may_serve=self._may_serve,
        )
        self._prove_sealed = prove
        self._report = report
        self._spawn = spawn
        self._job_to_sealed: dict[Cid, bytes] = {}
        self._job_to_task: dict[Cid, asyncio.Task[None]] = {}
        self._device_to_proof: dict[DeviceId, tuple[Cid, frozenset[Cid]]] = {}

    def carry_out(self, action: at.Fetch | at.Prove | at.Drop) -> None:
        """Begins or ends work on a job; returns at once."""
        match action:
            case at.Fetch(device, job, within_s):
                self._begin(job, self._fetch(device, job, min(within_s, FETCH_SECONDS)))
            case at.Prove(device, job, within_s):
                self._begin(job, self._prove(device, job, within_s))
            case at.Drop(device, job):
                self._drop(device, job)

    def _begin(self, job: Cid, work: Coroutine[Any, Any, at.Happening]) -> None:
        async def carry_on() -> None:
            happening = await work
            if self._job_to_task.get(job) is task:
                del self._job_to_task[job]
            self._report(happening)

        task = self._spawn(carry_on())
        # A task that is cancelled before it began would leave its work hanging.
        task.add_done_callback(lambda _: work.close())
        self._job_to_task[job] = task

    def _drop(self, device: DeviceId, job: Cid) -> None:
        task = self._job_to_task.pop(job, None)
        if task is not None:
            task.cancel()
        self._job_to_sealed.pop(job, None)
        self._blocks.drop(job)
        found = self._device_to_proof.pop(device, None)
        if found is not None:
            self._blocks.drop(found[0])

    def _may_serve(self, device: DeviceId, cid: Cid) -> bool:
        """A device gets the blocks of its own proof."""
        found = self._device_to_proof.get(device)
        return found is not None and cid in found[1]

    async def _fetch(self, device: DeviceId, job: Cid, within_s: float) -> at.Happening:
        max_bytes = self._config.limits.sealed_mb << 20
        try:
            sealed = await self.exchange.fetch(
                job, device, deadline_s=within_s, max_bytes=max_bytes
            )
        except Rejected as rejection:
            return at.Broken(device, job, rejection.reason, rejection.detail)
        except Transient as error:
            return at.Broken(device, job, Reason.OBJECT_UNAVAILABLE, str(error))
        finally:
            self._blocks.drop(job)
        self._job_to_sealed[job] = sealed
        return at.Fetched(device, job)

    async def _prove(self, device: DeviceId, job: Cid, within_s: float) -> at.Happening:
        began = time.monotonic()
        task = SealedJob(
            self._job_to_sealed.pop(job),
            device,
            bytes(self._key.signing) if self._config.dask is None else self._config.dask.key_file,
            self._config.proof_systems,
            self._config.cache_dir or self._config.state_dir / "cache",
            self._config.ezkl_binary,
        )
        try:
            async with asyncio.timeout(within_s):
                proof = await _outcome(self._pool.submit(self._prove_sealed, task))
        except TimeoutError:
            return at.Broken(device, job, Reason.JOB_EXPIRED, f"not proven in {within_s:.0f} s")
        except Rejected as rejection:
            return at.Broken(device, job, rejection.reason, rejection.detail)
        except ProvingFailed as failure:
            return at.Broken(device, job, Reason.PROVING_FAILED, str(failure))
        except Exception as error:
            # The top of a job, which must not end the service; a cluster has errors of its own.
            _logger.exception("a job of %s ended unexpectedly", device_text(device))
            return at.Broken(device, job, Reason.PROVING_FAILED, type(error).__name__)
        root, blocks = split_object(proof)
        self._device_to_proof[device] = (root, frozenset(blocks))
        self._blocks.hold(proof)
        return at.Proven(device, job, root, time.monotonic() - began)


async def _outcome(future: Future[bytes]) -> bytes:
    """Its result; a pool that cancels a job by itself has failed, and has not ended us."""
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and not current.cancelling():
            raise ProvingFailed(Obstacle.CRASHED, "the pool gave the job up") from None
        raise
