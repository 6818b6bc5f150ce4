"""A content store in memory, for tests."""

from zkpot.cid import Cid, cid_text, is_node, parse_manifest
from zkpot.errors import Reason, Rejected


class MemoryStore:
    """A `ContentStore`; `blocks` is open so that a test can damage it."""

    def __init__(self) -> None:
        self.blocks: dict[Cid, bytes] = {}
        self._pins: set[Cid] = set()

    def put(self, cid: Cid, block: bytes) -> None:
        """See `ContentStore.put`."""
        self.blocks[cid] = block

    def get(self, cid: Cid) -> bytes:
        """See `ContentStore.get`."""
        if cid not in self.blocks:
            raise Rejected(Reason.NOT_FOUND, cid_text(cid))
        return self.blocks[cid]

    def has(self, cid: Cid) -> bool:
        """See `ContentStore.has`."""
        return cid in self.blocks

    def pin(self, root: Cid) -> None:
        """See `ContentStore.pin`."""
        waiting = [root]
        while waiting:
            cid = waiting.pop()
            block = self.get(cid)
            if is_node(cid):
                manifest = parse_manifest(cid, block)
                waiting.extend(manifest.leaves + manifest.references)
        self._pins.add(root)

    def unpin(self, root: Cid) -> None:
        """See `ContentStore.unpin`."""
        self._pins.discard(root)

    def pins(self) -> frozenset[Cid]:
        """See `ContentStore.pins`."""
        return frozenset(self._pins)
