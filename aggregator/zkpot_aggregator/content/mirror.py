"""A directory of blocks, mirrored to an IPFS daemon: what runs a task is never lost there.

Blocks are put into the directory alone. A pin is the barrier: it returns only when the
daemon holds all of the object and keeps it, so a digest that goes on chain after it can be
fetched by everybody. Before each pin all older ones are compared, so that a daemon that lost
its repository gets everything back. Reads ask the directory, the daemon, then the gateway;
what came from afar is hashed before it is kept.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from zkpot.cid import Cid, check_block, cid_text, is_node, parse_manifest
from zkpot.errors import Rejected, Transient
from zkpot_aggregator.content.base import ContentStore
from zkpot_aggregator.content.directory import DirectoryStore

_logger = logging.getLogger(__name__)


class Remote(ContentStore, Protocol):
    """A daemon; `pin_complete` pins what was just put, without looking."""

    def pin_complete(self, root: Cid) -> None:
        """Raises `Transient` or `Rejected` if a block is gone again."""


class MirroredStore:
    """A `PrunedStore`: `local` first, pinned in `remote`, filled from `fallbacks`."""

    def __init__(
        self, local: DirectoryStore, remote: Remote, fallbacks: Sequence[ContentStore] = ()
    ) -> None:
        self._local = local
        self._remote = remote
        self._fallbacks = (remote, *fallbacks)

    def put(self, cid: Cid, block: bytes) -> None:
        """See `ContentStore.put`; the daemon gets it with the pin."""
        self._local.put(cid, block)

    def get(self, cid: Cid) -> bytes:
        """See `ContentStore.get`; raises `Transient` if a source that might have it is away."""
        try:
            return self._local.get(cid)
        except Rejected as missing:
            return self._fetch(cid, missing)

    def has(self, cid: Cid) -> bool:
        """See `ContentStore.has`: in the directory, where `put` puts it."""
        return self._local.has(cid)

    def pin(self, root: Cid) -> None:
        """See `ContentStore.pin`; returns when the daemon keeps it and all older pins."""
        self._local.pin(root)
        self.mend()

    def unpin(self, root: Cid) -> None:
        """See `ContentStore.unpin`, here and in the daemon.

        There first: cut off in between, it is still pinned here, and so unpinned again.
        """
        self._remote.unpin(root)
        self._local.unpin(root)

    def pins(self) -> frozenset[Cid]:
        """See `ContentStore.pins`."""
        return self._local.pins()

    def collect_garbage(self) -> int:
        """See `PrunedStore.collect_garbage`; the daemon collects its own when it is told to."""
        return self._local.collect_garbage()

    def mend(self) -> int:
        """Gives the daemon every pinned object that it lacks; returns how many."""
        kept = set(self._remote.pins())
        lacking = sorted(self._local.pins() - kept)
        for root in lacking:
            for cid, block in self._unkept(root, kept):
                self._remote.put(cid, block)
            self._pin_remotely(root)
            kept.add(root)
            _logger.debug("the daemon keeps %s", cid_text(root))
        return len(lacking)

    def _pin_remotely(self, root: Cid) -> None:
        try:
            self._remote.pin_complete(root)
        except Rejected as rejection:
            # Its garbage collection came between the put and the pin.
            raise Transient(f"the daemon lost a block of {cid_text(root)} again") from rejection

    def _unkept(self, root: Cid, kept: set[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Blocks under `root` that no pin of the daemon keeps, what is referred to first."""
        waiting, order = [root], dict[Cid, bytes]()
        while waiting:
            cid = waiting.pop()
            if cid in order or cid in kept:
                continue
            order[cid] = check_block(cid, self.get(cid))
            if is_node(cid):
                manifest = parse_manifest(cid, order[cid])
                waiting.extend(manifest.leaves + manifest.references)
        yield from reversed(order.items())

    def _fetch(self, cid: Cid, missing: Rejected) -> bytes:
        away: Transient | None = None
        for source in self._fallbacks:
            try:
                block = check_block(cid, source.get(cid))
            except Rejected:
                continue
            except Transient as error:
                away = error
                continue
            _logger.info("%s came from afar", cid_text(cid))
            self._local.put(cid, block)
            return block
        if away is not None:
            raise away
        raise missing
