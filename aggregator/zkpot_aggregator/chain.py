"""The ledger from asyncio: one thread, calls in order, and patience while it is away."""

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from zkpot.errors import Transient
from zkpot.journal import Journal
from zkpot_aggregator.ledger.base import Ledger, Receipt
from zkpot_aggregator.ledger.calls import Call, CreateTask

_logger = logging.getLogger(__name__)

R = TypeVar("R")

GAS = "gas"
"""Journal events: what each call cost."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class Chain:
    """Submits calls until they take effect; notes their gas in the journal."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger = ledger
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    async def read(self, question: Callable[[Ledger], R]) -> R:
        """The answer to `question`; what may pass is asked again."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._thread, question, self._ledger)
            except Transient as error:
                _logger.warning("the ledger cannot be reached: %s", error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def submit(self, call: Call) -> Receipt:
        """Makes `call` take effect, once, however often it is asked to."""
        receipt = await self.read(lambda ledger: ledger.submit(call))
        note_gas(self._journal, call, receipt)
        return receipt

    def stop(self) -> None:
        """Lets the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def note_gas(journal: Journal, call: Call, receipt: Receipt) -> None:
    """Notes what `call` cost, once, however often it is submitted."""
    number = 0 if isinstance(call, CreateTask) else call.round
    key = f"{number}/{type(call).__name__}/{receipt.tx_hash.hex()}"
    journal.note(GAS, key, str(receipt.gas_used).encode(), rolling=True)
