"""Asynchronous tests, and jobs that need no process of their own in them."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from zkpot.proof.system import no_progress


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an asynchronous test to its end."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def run_here(job: Callable[..., Any], *args: Any, **_limits: Any) -> Any:
    """What `zkpot.proof.child.run` does, without a child process and its limits."""
    await asyncio.sleep(0)
    return job(no_progress, *args)
