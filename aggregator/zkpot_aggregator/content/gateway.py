"""Blocks from a public or private IPFS gateway: to read only, and never believed.

Asks for `?format=raw`, the trustless form that every gateway serves without decoding, and
compares the hash at once (specification: trustless gateway, `application/vnd.ipld.raw`).
"""

import requests

from zkpot.cid import BLOCK_BYTES, Cid, check_block, cid_text
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot_aggregator.answers import AnswerTooLong, read_body, speaks_http

_RAW = "application/vnd.ipld.raw"
_ABSENT = frozenset({404, 410})
MAX_BLOCK_BYTES = 2 * BLOCK_BYTES
"""More than a leaf or a manifest; what is longer is not read to its end."""


class GatewayStore:
    """A `ContentStore` that gets; putting and pinning are refused as `Fatal`."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        if not speaks_http(url):
            raise Fatal(
                ExitCode.CONFIG, "the gateway's url: expected http:// or https:// and a host"
            )
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()

    def put(self, cid: Cid, block: bytes) -> None:
        """Refused."""
        raise self._read_only(f"{len(block)} bytes as {cid_text(cid)}")

    def get(self, cid: Cid) -> bytes:
        """See `ContentStore.get`; raises `Rejected` (CID_MISMATCH) for what has another name."""
        try:
            with self._session.get(
                f"{self._url}/ipfs/{cid_text(cid)}",
                params={"format": "raw"},
                headers={"Accept": _RAW},
                timeout=self._timeout_s,
                stream=True,
            ) as response:
                if response.status_code in _ABSENT:
                    raise Rejected(Reason.NOT_FOUND, f"{cid_text(cid)} at the gateway")
                response.raise_for_status()
                block = read_body(response, MAX_BLOCK_BYTES)
        except AnswerTooLong as error:
            raise Rejected(Reason.OVERSIZE, f"{cid_text(cid)} at the gateway: {error}") from error
        except (requests.RequestException, OSError) as error:
            raise Transient(f"gateway, {cid_text(cid)}: {type(error).__name__}") from error
        return check_block(cid, block)

    def has(self, cid: Cid) -> bool:
        """See `ContentStore.has`."""
        try:
            self.get(cid)
        except Rejected:
            return False
        return True

    def pin(self, root: Cid) -> None:
        """Refused."""
        raise self._read_only(f"a pin of {cid_text(root)}")

    def unpin(self, root: Cid) -> None:
        """Refused."""
        raise self._read_only(f"no pin of {cid_text(root)}")

    def pins(self) -> frozenset[Cid]:
        """None."""
        return frozenset()

    def close(self) -> None:
        """Ends the connections."""
        self._session.close()

    def _read_only(self, what: str) -> Fatal:
        return Fatal(ExitCode.CONFIG, f"a gateway is read-only, it cannot keep {what}")
