"""Where jobs run: a pool of processes on this machine, or a Dask cluster.

Both are a `concurrent.futures.Executor` that runs every job in a fresh process within the
limits, and raises what the job raised, or `ProvingFailed` if its process did not live to say.
"""

import asyncio
import importlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from zkpot.errors import ExitCode, Fatal
from zkpot.proof import child
from zkpot.proof.child import Limits
from zkpot.proof.system import Progress
from zkpot_aggregator.prover.config import DaskConfig

R = TypeVar("R")

CONNECT_SECONDS = 30


class SpawnPool(Executor):
    """At most `workers` processes at once, each for one job. Needs a running event loop.

    A future that is cancelled has its process killed.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(workers)
        self._loop = asyncio.get_running_loop()
        self._running: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """See `Executor.submit`; from any thread."""
        future = asyncio.run_coroutine_threadsafe(self._run(fn, args, kwargs), self._loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Kills what runs, whatever is asked: nobody would take its result."""
        del wait, cancel_futures
        for future in tuple(self._running):
            future.cancel()

    async def _run(self, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
        async with self._free:
            return await child.run(_call, fn, args, kwargs, limits=self._limits)


class DaskPool(Executor):
    """The workers of a Dask cluster; each starts a process of its own for every job.

    Connecting blocks; raises `Fatal` (DEPENDENCY) if there is no such scheduler.
    """

    def __init__(self, config: DaskConfig, limits: Limits) -> None:
        self._limits = limits
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise Fatal(
                ExitCode.DEPENDENCY, "dask is configured: pip install 'zkpot[dask]'"
            ) from error
        try:
            self._client = distributed.Client(
                config.scheduler, timeout=CONNECT_SECONDS, set_as_default=False
            )
        except OSError as error:
            raise Fatal(
                ExitCode.DEPENDENCY, f"no Dask scheduler at {config.scheduler}: {error}"
            ) from error
        self._executor: Executor = self._client.get_executor(
            pure=False, resources=dict(config.resources) or None
        )

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """See `Executor.submit`."""
        return self._executor.submit(_in_child, self._limits, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leaves the cluster; its workers drop what nobody waits for."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()


def _in_child(limits: Limits, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    return asyncio.run(child.run(_call, fn, args, kwargs, limits=limits))


def _call(_progress: Progress, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    return fn(*args, **kwargs)
