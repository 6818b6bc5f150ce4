"""A content store in an IPFS daemon, over the RPC of Kubo.

ipfshttpclient 0.7's `connect` refuses every Kubo since 0.8, its `Client` does not, if options
go in `opts`. The daemon names what it stores by itself, and the name is compared at the put;
blocks are hashed again by whoever gets them (see `content.base`).
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import requests
from ipfshttpclient import exceptions

from zkpot.cid import (
    CID_BYTES,
    Cid,
    cid_from_bytes,
    cid_from_text,
    cid_text,
    is_node,
    parse_manifest,
)
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot_aggregator.answers import shown, speaks_http
from zkpot_aggregator.content.kubo_http import BoundedClient

_logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_LOOKUP_S = 5.0

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_CHARACTERS = 2 * CID_BYTES
"""More than a CID of ours has."""
_ABSENT = ("not found", "notfound", "could not find", "no block", "block was not")
_NOT_PINNED = ("not pinned",)
_GAVE_UP = ("request timed out",)
"""What js-ipfs says of a block that it lacks, once the time it was given is over."""
_UNREADABLE = (ValueError, LookupError, TypeError, AssertionError, RecursionError)
"""What an answer leads to that is not the JSON that was asked for."""


class KuboStore:
    """A `ContentStore` in the daemon at `url`; nothing is asked before the first call."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        lookup_s: float = DEFAULT_LOOKUP_S,
    ) -> None:
        # A block that the daemon lacks is looked for nowhere else, and not waited for: Kubo
        # heeds the first, js-ipfs the second.
        self._here_only = {"offline": "true", "timeout": f"{int(1000 * lookup_s)}ms"}
        # ipfshttpclient 0.7 hands urllib3 an argument of Python 2 with every request.
        warnings.filterwarnings("ignore", "The 'strict' parameter", FutureWarning)
        self._client = BoundedClient(multiaddress(url), timeout_s)
        self._where = urlsplit(url).hostname or "the IPFS daemon"

    def put(self, cid: Cid, block: bytes) -> None:
        """See `ContentStore.put`; raises `Rejected` (CID_MISMATCH) for a block of another name."""
        codec = "dag-cbor" if is_node(cid) else "raw"
        with self._asking("block/put"):
            options = {self._codec_option: codec, "version": "1", "mhtype": "sha2-256"}
            # ipfshttpclient takes a file, or the name of one.
            stored = self._client.block.put(_Bytes(block), opts=options)
            name = read_cid(str(stored["Key"]))
        if name != cid:
            raise Rejected(Reason.CID_MISMATCH, f"{cid_text(cid)}: {self._where} stored another")

    def get(self, cid: Cid) -> bytes:
        """See `ContentStore.get`."""
        with self._asking("block/get", cid):
            block: bytes = self._client.block.get(cid_text(cid), opts=self._here_only)
        return block

    def has(self, cid: Cid) -> bool:
        """See `ContentStore.has`."""
        try:
            with self._asking("block/stat", cid):
                self._client.block.stat(cid_text(cid), opts=self._here_only)
        except Rejected:
            return False
        return True

    def pin(self, root: Cid) -> None:
        """See `ContentStore.pin`. Looks first: a daemon would wait for a missing block."""
        pinned = self.pins()
        if root not in pinned:
            self._check_complete(root, pinned)
            self.pin_complete(root)

    def pin_complete(self, root: Cid) -> None:
        """Like `pin`, for an object whose blocks the caller has just put."""
        with self._asking("pin/add", root):
            self._client.pin.add(cid_text(root), recursive=True, opts={"offline": "true"})

    def unpin(self, root: Cid) -> None:
        """See `ContentStore.unpin`."""
        try:
            with self._asking("pin/rm", root):
                self._client.pin.rm(cid_text(root), recursive=True)
        except _NotPinned:
            _logger.debug("%s was not pinned", cid_text(root))

    def pins(self) -> frozenset[Cid]:
        """See `ContentStore.pins`; what others have pinned in other codecs is left out."""
        with self._asking("pin/ls"):
            names = [str(name) for name in self._client.pin.ls(type="recursive")["Keys"]]
        found = set()
        for text in names:
            try:
                cid = read_cid(text)
            except Rejected:
                continue
            if is_node(cid):
                found.add(cid)
        return frozenset(found)

    def version(self) -> str:
        """The daemon's; raises `Transient` if it does not answer."""
        with self._asking("version"):
            return str(self._client.version()["Version"])

    def collect_garbage(self) -> None:
        """Drops what is not pinned, of everybody who uses this daemon."""
        with self._asking("repo/gc"):
            self._client.repo.gc()

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_complete(self, root: Cid, pinned: frozenset[Cid]) -> None:
        waiting, seen = [root], set(pinned)
        while waiting:
            cid = waiting.pop()
            if cid in seen:
                continue
            seen.add(cid)
            if is_node(cid):
                manifest = parse_manifest(cid, self.get(cid))
                waiting.extend(manifest.leaves + manifest.references)
            elif not self.has(cid):
                raise Rejected(Reason.NOT_FOUND, f"{cid_text(cid)}, needed by {cid_text(root)}")

    @cached_property
    def _codec_option(self) -> str:
        """How the daemon calls a block's codec: js-ipfs has its own word, which Kubo refuses."""
        with self._asking("version"):
            return "format" if "ipfs-core" in self._client.version() else "cid-codec"

    @contextmanager
    def _asking(self, what: str, cid: Cid | None = None) -> Iterator[None]:
        name = "" if cid is None else f" {cid_text(cid)}"
        try:
            yield
        except exceptions.ErrorResponse as error:
            text = str(error).lower()
            if any(words in text for words in _NOT_PINNED):
                raise _NotPinned(Reason.NOT_FOUND, name) from error
            if any(words in text for words in _ABSENT + _GAVE_UP):
                raise Rejected(Reason.NOT_FOUND, f"{name.strip()} in {self._where}") from error
            raise Transient(f"{self._where}, {what}{name}: {shown(str(error))}") from error
        except (exceptions.Error, requests.RequestException, OSError, *_UNREADABLE) as error:
            raise Transient(f"{self._where}, {what}{name}: {type(error).__name__}") from error


class _NotPinned(Rejected):
    """There was nothing to unpin."""


class _Bytes:
    """A block as the file that ipfshttpclient reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        end = len(self._data) if size < 0 else size
        chunk, self._data = self._data[:end], self._data[end:]
        return chunk


def multiaddress(url: str) -> str:
    """`http://127.0.0.1:5001` as ipfshttpclient wants it; raises `Fatal` (CONFIG)."""
    if not speaks_http(url) or urlsplit(url).path.strip("/"):
        raise Fatal(ExitCode.CONFIG, "the IPFS daemon's url: expected http://HOST:PORT")
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if ":" in host:
        kind = "ip6"
    elif host.replace(".", "").isdecimal():
        kind = "ip4"
    else:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}"


def read_cid(text: str) -> Cid:
    """A CID as daemons write it: base32 as everywhere here, or base58; raises `Rejected`."""
    if not text.startswith("z"):
        return cid_from_text(text)
    if len(text) > _BASE58_CHARACTERS:
        # The time to read one grows with the square of its length.
        raise Rejected(Reason.MALFORMED, f"CID {text[:80]!r}")
    number = 0
    for letter in text[1:]:
        digit = _BASE58.find(letter)
        if digit < 0:
            raise Rejected(Reason.MALFORMED, f"CID {text[:80]!r}")
        number = number * 58 + digit
    return cid_from_bytes(number.to_bytes((number.bit_length() + 7) // 8, "big"))
