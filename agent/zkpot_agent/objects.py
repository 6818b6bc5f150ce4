"""Fetching the task's objects from its aggregator."""

import logging
from dataclasses import dataclass

from zkpot.cid import Cid
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot.ids import DeviceId, TaskId
from zkpot.link.blocks import BlockExchange
from zkpot.task import Task, decode_task, manifest_cid

_logger = logging.getLogger(__name__)

FETCH_SECONDS = 120.0
"""For one attempt; what came stays, and the driver tries again while the round lasts."""


@dataclass(frozen=True)
class Objects:
    """Objects by CID, each block checked by its hash."""

    exchange: BlockExchange
    aggregator: DeviceId

    async def fetch(self, cid: Cid) -> bytes:
        """The object; raises `Rejected` if it is malformed or absent, `Transient` if late."""
        return await self.exchange.fetch(cid, self.aggregator, deadline_s=FETCH_SECONDS)


async def fetch_task(objects: Objects, task: TaskId) -> Task:
    """The manifest, however long the aggregator takes to have it.

    Raises `Fatal` (CONFIG) for one that is no task, which by its name it will always be.
    """
    while True:
        try:
            return decode_task(await objects.fetch(manifest_cid(task)))
        except (Rejected, Transient) as error:
            if isinstance(error, Rejected) and error.reason is not Reason.OBJECT_UNAVAILABLE:
                raise Fatal(ExitCode.CONFIG, f"the task cannot be joined: {error}") from None
            _logger.info("waiting for the task's manifest: %s", error)
