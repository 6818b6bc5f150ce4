"""The device's blocks: what it fetched for this round, and what it offers others.

They lie in the journal and are dropped together when the round is over; until the next one is,
the model that it starts from stays.
"""

from collections.abc import Collection

from zkpot.cid import Cid, cid_text, split_object
from zkpot.errors import Reason, Rejected
from zkpot.journal import Journal

BLOCK_PREFIX = "block/"


class JournalBlocks:
    """A `BlockStore` in the device's journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`."""
        block = self._journal.get(BLOCK_PREFIX + cid_text(cid))
        if block is None:
            raise Rejected(Reason.NOT_FOUND, cid_text(cid))
        return block

    def put(self, cid: Cid, block: bytes, /) -> None:
        """See `BlockStore.put`."""
        self._journal.transition({BLOCK_PREFIX + cid_text(cid): block})

    def offer(self, data: bytes) -> Cid:
        """Keeps an object for the aggregator to fetch; returns its name."""
        root, blocks = split_object(data)
        self._journal.transition(
            {BLOCK_PREFIX + cid_text(cid): block for cid, block in blocks.items()}
        )
        return root

    def clear(self, kept: Collection[Cid] = ()) -> dict[str, bytes | None]:
        """The journal puts that drop every block but those."""
        spared = {BLOCK_PREFIX + cid_text(cid) for cid in kept}
        return {key: None for key, _ in self._journal.items(BLOCK_PREFIX) if key not in spared}
