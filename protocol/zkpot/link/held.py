"""Objects kept in memory until they are dropped: sealed jobs and proofs on their way."""

from zkpot.cid import Cid, cid_text, parse_manifest, split_object
from zkpot.errors import Reason, Rejected


class HeldBlocks:
    """A `BlockStore` that nothing outlives."""

    def __init__(self) -> None:
        self._blocks: dict[Cid, bytes] = {}

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`."""
        try:
            return self._blocks[cid]
        except KeyError:
            raise Rejected(Reason.NOT_FOUND, cid_text(cid)) from None

    def put(self, cid: Cid, block: bytes, /) -> None:
        """See `BlockStore.put`."""
        self._blocks[cid] = block

    def hold(self, data: bytes) -> Cid:
        """Keeps an object for a peer to fetch; returns its name."""
        root, blocks = split_object(data)
        self._blocks.update(blocks)
        return root

    def drop(self, root: Cid) -> None:
        """Forgets an object, as much of it as there is."""
        manifest = self._blocks.pop(root, None)
        if manifest is not None:
            for leaf in parse_manifest(root, manifest).leaves:
                self._blocks.pop(leaf, None)

    def __len__(self) -> int:
        return len(self._blocks)
