"""The content store as the rest of the program sees it, and the checks above every store.

A store is not believed: each block is hashed before it is put, and again when it comes back,
after a put as after a get. Callers use the functions here for data and the store itself only
to pin.
"""

from collections.abc import Iterable
from typing import Protocol

from zkpot.cid import Cid, check_block, join_object, split_object


class ContentStore(Protocol):
    """Blocks by CID, and pins that keep objects with everything they refer to.

    Every method raises `Transient` when the store cannot be reached or is full.
    """

    def put(self, cid: Cid, block: bytes) -> None:
        """Stores a block of at most `BLOCK_BYTES`; returns once it survives a power loss."""

    def get(self, cid: Cid) -> bytes:
        """The stored bytes, unchecked; raises `Rejected` (NOT_FOUND)."""

    def has(self, cid: Cid) -> bool:
        """Whether a block is stored under `cid`."""

    def pin(self, root: Cid) -> None:
        """Keeps the object and, recursively, all it refers to; a second pin is the same.

        Raises `Rejected` (NOT_FOUND) if a block of it is missing, and pins nothing then.
        """

    def unpin(self, root: Cid) -> None:
        """Undoes `pin`; without one nothing happens."""

    def pins(self) -> frozenset[Cid]:
        """The roots given to `pin`, not what they refer to."""


def put_block(store: ContentStore, cid: Cid, block: bytes) -> None:
    """Stores a block and reads it back; raises `Rejected` if either is not what `cid` names."""
    check_block(cid, block)
    store.put(cid, block)
    get_block(store, cid)


def get_block(store: ContentStore, cid: Cid) -> bytes:
    """A block that hashes to its name; raises `Rejected` (NOT_FOUND, CID_MISMATCH, OVERSIZE)."""
    return check_block(cid, store.get(cid))


def put_object(store: ContentStore, data: bytes, references: Iterable[Cid] = ()) -> Cid:
    """Stores `data` in blocks, the manifest last; returns the object's CID.

    It is not pinned yet. `references` are the objects that a pin of this one keeps too.
    """
    root, blocks = split_object(data, references)
    for cid, block in blocks.items():
        put_block(store, cid, block)
    return root


def get_object(store: ContentStore, cid: Cid) -> bytes:
    """The data of an object, every block checked; raises `Rejected`."""
    return join_object(cid, store.get)
