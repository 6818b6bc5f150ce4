"""The frame around a service's tasks: how they begin together and how they end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from zkpot.errors import Transient, ZkpotError
from zkpot.link import Link
from zkpot.notify import Notifier


@contextlib.asynccontextmanager
async def serving(link: Link, notifier: Notifier) -> AsyncIterator[asyncio.TaskGroup]:
    """A group for the tasks; when all have ended, whichever way, stops `link`.

    Of errors the first `ZkpotError` comes out, not the group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* ZkpotError as errors:
        raise _first_of(errors) from None
    finally:
        notifier.stopping()
        with contextlib.suppress(Transient):
            await link.stop()


def _first_of(group: BaseExceptionGroup[ZkpotError]) -> ZkpotError:
    """The first error inside a task group's, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ZkpotError)
    return error
