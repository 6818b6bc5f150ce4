"""Work that talks to outside systems, done again until it succeeds or fails for good."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TypeVar

from zkpot.errors import Transient
from zkpot_aggregator.chain import FIRST_PAUSE_S, LONGEST_PAUSE_S

_logger = logging.getLogger(__name__)

R = TypeVar("R")


async def patiently(work: Callable[[], R], what: str) -> R:
    """Runs `work`, which must be idempotent, in a thread; what may pass is tried again."""
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await asyncio.to_thread(work)
        except Transient as error:
            _logger.warning("%s has to wait: %s", what, error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)
            pause = min(2 * pause, LONGEST_PAUSE_S)
