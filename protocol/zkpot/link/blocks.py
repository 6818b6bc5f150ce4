"""Content by its address over the link: fetching objects from a peer, serving blocks to it.

The receiver drives. Wants and blocks are signed envelopes sent as volatile messages: one
that is lost is asked for again. The service verifies envelopes and hands on what is in
them; a block counts only from the peer that was asked, and only if its hash is right.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from zkpot.cid import MAX_OBJECT_BYTES, Cid, check_block, cid_text, join_object
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import DeviceId, device_text
from zkpot.keys import KeyPair
from zkpot.link.base import Link
from zkpot.link.download import (
    DEFAULT_WINDOW,
    FIRST_TIMEOUT_S,
    Action,
    Answer,
    Ask,
    Done,
    Download,
    Happening,
    Keep,
    Reconnected,
    Tick,
)
from zkpot.wire.envelope import sign
from zkpot.wire.messages import MAX_WANTED_BLOCKS, Block, Want
from zkpot.wire.topics import Kind

_logger = logging.getLogger(__name__)

Address: TypeAlias = Callable[[DeviceId, Kind], str]
"""The topic on which a peer is told something of a kind."""

MAX_WANTED_BY_PEER = 2 * MAX_WANTED_BLOCKS
"""Blocks a peer may have standing in the queue; what it asks beyond is left unanswered."""


class BlockStore(Protocol):
    """Blocks kept locally. It is not believed: hashes are checked here."""

    def get(self, cid: Cid) -> bytes:
        """The stored bytes; raises `Rejected` if there are none."""

    def put(self, cid: Cid, block: bytes, /) -> None:
        """Keeps a block; putting it twice is harmless."""


@dataclass
class _Fetch:
    peer: DeviceId
    happenings: deque[Happening] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, happening: Happening) -> None:
        self.happenings.append(happening)
        self.changed.set()


class BlockExchange:
    """Both directions for one participant: `fetch` objects, and serve `store` while `run` runs.

    `may_serve` decides what a peer gets to see; the rest is answered as absent.
    """

    def __init__(
        self,
        link: Link,
        *,
        key: KeyPair,
        store: BlockStore,
        address: Address,
        may_serve: Callable[[DeviceId, Cid], bool] = lambda _peer, _cid: True,
        window: int = DEFAULT_WINDOW,
        timeout_s: float = FIRST_TIMEOUT_S,
    ) -> None:
        self._link = link
        self._key = key
        self._store = store
        self._address = address
        self._may_serve = may_serve
        self._window = window
        self._timeout_s = timeout_s
        self._fetches: list[_Fetch] = []
        self._peer_to_wanted: dict[DeviceId, dict[Cid, None]] = {}
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Serves what peers want, one block of each in turn, until cancelled."""
        while True:
            while not self._peer_to_wanted:
                self._wanted.clear()
                await self._wanted.wait()
            peer, wanted = next(iter(self._peer_to_wanted.items()))
            cid = next(iter(wanted))
            del wanted[cid], self._peer_to_wanted[peer]
            if wanted:
                self._peer_to_wanted[peer] = wanted
            block = Block(cid, self._stored(cid) if self._may_serve(peer, cid) else None)
            await self._send(peer, Kind.BLOCK, block)

    def receive(self, signer: DeviceId, message: Want | Block) -> None:
        """Takes a verified message from `signer`; returns at once."""
        match message:
            case Want(cids):
                wanted = self._peer_to_wanted.setdefault(signer, {})
                for cid in cids:
                    if len(wanted) < MAX_WANTED_BY_PEER:
                        wanted[cid] = None
                if not wanted:
                    del self._peer_to_wanted[signer]
                self._wanted.set()
            case Block(cid, data):
                for fetch in self._fetches:
                    # What nobody waits for is dropped here, before it takes memory.
                    if fetch.peer == signer and len(fetch.happenings) <= 2 * self._window:
                        fetch.tell(Answer(cid, data))

    def reconnected(self) -> None:
        """Asks again for all that was under way; call it from the link's `births`."""
        for fetch in self._fetches:
            fetch.tell(Reconnected())

    async def fetch(
        self,
        cid: Cid,
        peer: DeviceId,
        *,
        deadline_s: float,
        max_bytes: int = MAX_OBJECT_BYTES,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> bytes:
        """The object `cid`, from the store or from `peer`, within `deadline_s` seconds.

        Blocks that came stay in the store, so a later call goes on where this one ended.
        Raises `Rejected` if the object is malformed or larger than `max_bytes`, or if the
        peer's last word at the deadline was that it lacks a block; `Transient` if it was slow.
        """
        download = Download(
            cid,
            self._stored,
            max_bytes=max_bytes,
            window=self._window,
            first_timeout_s=self._timeout_s,
        )
        fetch = _Fetch(peer)
        self._fetches.append(fetch)
        try:
            async with asyncio.timeout(deadline_s):
                await self._drive(download, fetch, progress)
        except TimeoutError as error:
            done, total = download.progress
            detail = f"{cid_text(cid)} from {device_text(peer)}: {done} of {total or '?'} blocks"
            if download.absent:
                raise Rejected(Reason.OBJECT_UNAVAILABLE, detail) from error
            raise Transient(f"object incomplete after {deadline_s} s: {detail}") from error
        finally:
            self._fetches.remove(fetch)
        return join_object(cid, self._store.get)

    async def _drive(
        self, download: Download, fetch: _Fetch, progress: Callable[[int, int], None]
    ) -> None:
        if await self._act(download.start(time.monotonic()), fetch.peer):
            return
        while True:
            while not fetch.happenings:
                fetch.changed.clear()
                pause = download.wakes_at - time.monotonic()
                try:
                    async with asyncio.timeout(max(0.0, pause)):
                        await fetch.changed.wait()
                except TimeoutError:
                    fetch.tell(Tick())
            actions = download.step(fetch.happenings.popleft(), time.monotonic())
            if await self._act(actions, fetch.peer):
                return
            progress(*download.progress)

    async def _act(self, actions: Sequence[Action], peer: DeviceId) -> bool:
        """Carries actions out; True once the object is complete."""
        for action in actions:
            match action:
                case Ask(cids):
                    _logger.debug("asking %s for %d blocks", device_text(peer), len(cids))
                    await self._send(peer, Kind.WANT, Want(cids))
                case Keep(cid, data):
                    self._store.put(cid, data)
                case Done():
                    return True
        return False

    async def _send(self, peer: DeviceId, kind: Kind, message: Want | Block) -> None:
        await self._link.publish_volatile(self._address(peer, kind), sign(message, self._key))

    def _stored(self, cid: Cid) -> bytes | None:
        try:
            return check_block(cid, self._store.get(cid))
        except Rejected:
            return None
