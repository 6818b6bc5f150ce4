"""Fetching the task's objects from its aggregator."""

from dataclasses import dataclass

from zkpot.cid import Cid
from zkpot.ids import DeviceId
from zkpot.link.blocks import BlockExchange

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
