"""What devices send before it is judged: kept apart from the content store.

Proofs move to the content store once they are judged; sealed openings never do. The whole
intake is dropped when the round ends.
"""

import shutil
from pathlib import Path

from zkpot.cid import Cid
from zkpot_aggregator.content.base import ContentStore
from zkpot_aggregator.content.directory import DirectoryStore


class Intake:
    """A `BlockStore` over the content store: reads from both, writes to the intake.

    Of the content store only what is at hand: to look for a device's block elsewhere takes
    seconds, in which the aggregator would hear nobody.
    """

    def __init__(self, folder: Path, content: ContentStore) -> None:
        self._folder = folder
        self._store = DirectoryStore(folder)
        self._content = content

    def get(self, cid: Cid) -> bytes:
        """See `BlockStore.get`."""
        return (self._content if self._content.has(cid) else self._store).get(cid)

    def put(self, cid: Cid, block: bytes, /) -> None:
        """See `BlockStore.put`."""
        self._store.put(cid, block)

    def clear(self) -> None:
        """Drops everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
