"""A content store in memory, for tests."""

from zkpot.cid import Cid, cid_text, is_node, parse_manifest
from zkpot.errors import Reason, Rejected


class MemoryStore:
    """A `PrunedStore`; `blocks` is open so that a test can damage it."""

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
        self._reachable({root})
        self._pins.add(root)

    def unpin(self, root: Cid) -> None:
        """See `ContentStore.unpin`."""
        self._pins.discard(root)

    def pins(self) -> frozenset[Cid]:
        """See `ContentStore.pins`."""
        return frozenset(self._pins)

    def collect_garbage(self) -> int:
        """See `PrunedStore.collect_garbage`."""
        garbage = self.blocks.keys() - self._reachable(self._pins)
        for cid in garbage:
            del self.blocks[cid]
        return len(garbage)

    def _reachable(self, roots: set[Cid]) -> set[Cid]:
        """Every block under `roots`; raises `Rejected` if one is missing or damaged."""
        waiting, found = list(roots), set[Cid]()
        while waiting:
            cid = waiting.pop()
            block = self.get(cid)
            found.add(cid)
            if is_node(cid):
                manifest = parse_manifest(cid, block)
                waiting.extend(set(manifest.leaves + manifest.references) - found)
        return found
