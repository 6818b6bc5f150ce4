"""Objects for a validator: what is at hand, then the aggregator over MQTT, then IPFS.

What a round has just made is not in IPFS before the round closes, and what was closed long ago
may be nowhere else; so whom is asked depends on the question.
"""

import asyncio
from dataclasses import dataclass

from zkpot.cid import Cid, check_block, cid_text, join_object, parse_manifest
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import DeviceId
from zkpot.link.blocks import BlockExchange
from zkpot_aggregator.content.base import ContentStore, get_object
from zkpot_aggregator.intake import Intake


@dataclass(frozen=True)
class Shelf:
    """A `BlockStore`: what was heard moves to the content store when it is asked for."""

    intake: Intake
    content: ContentStore

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`."""
        block = check_block(cid, self.intake.get(cid))
        if not self.content.has(cid):
            self.content.put(cid, block)
        return block

    def put(self, cid: Cid, block: bytes, /) -> None:
        """See `BlockStore.put`."""
        self.content.put(cid, block)


@dataclass(frozen=True)
class Library:
    """Objects by CID, every block checked. Not to be asked on the thread of `loop`.

    Both methods raise `Rejected` (NOT_FOUND) for what nobody has or hands out within `fetch_s`.
    """

    shelf: Shelf
    exchange: BlockExchange
    aggregator: DeviceId
    fetch_s: float
    loop: asyncio.AbstractEventLoop

    def of_running(self, cid: Cid) -> bytes:
        """An object of the round that is under way, which the aggregator alone has."""
        try:
            return join_object(cid, self.shelf.get)
        except Rejected:
            return self._fetch(cid)

    def of_closed(self, cid: Cid) -> bytes:
        """An object that a record on chain names; raises `Transient` if IPFS is away."""
        try:
            return join_object(cid, self.shelf.get)
        except Rejected:
            pass
        try:
            return get_object(self.shelf.content, cid)
        except Rejected:
            return self._fetch(cid)

    def hold(self, root: Cid) -> None:
        """Obtains a closed round's object and everything that a pin of it keeps."""
        waiting, held = [root], set[Cid]()
        while waiting:
            cid = waiting.pop()
            if cid in held:
                continue
            held.add(cid)
            self.of_closed(cid)
            waiting.extend(parse_manifest(cid, self.shelf.get(cid)).references)

    def _fetch(self, cid: Cid) -> bytes:
        fetching = self.exchange.fetch(cid, self.aggregator, deadline_s=self.fetch_s)
        try:
            return asyncio.run_coroutine_threadsafe(fetching, self.loop).result()
        except (Rejected, Transient) as error:
            raise Rejected(Reason.NOT_FOUND, cid_text(cid)) from error
