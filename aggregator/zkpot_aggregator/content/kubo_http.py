"""ipfshttpclient, made safe against what a daemon may answer.

Its own requests have no bound, and its own decoder looks for JSON values anywhere in a body, in
time that grows with the square of the length. Daemons write one value on each line.
"""

import json
from typing import Any

import requests
from ipfshttpclient import exceptions
from ipfshttpclient.client import DEFAULT_BASE, Client
from ipfshttpclient.http_requests import ClientSync

from zkpot_aggregator.answers import bound_answers


class BoundedClient(Client):  # type: ignore[misc]
    """A `Client` of the daemon at `address`, which may raise `requests.RequestException`, too."""

    def __init__(self, address: str, timeout_s: float) -> None:
        super().__init__(address, timeout=timeout_s)
        self._client = _Http(address, DEFAULT_BASE, timeout=timeout_s)


class _Http(ClientSync):  # type: ignore[misc]
    def _make_session(self) -> requests.Session:
        session: requests.Session = super()._make_session()
        bound_answers(session)
        return session

    def request(self, path: str, *args: Any, decoder: str = "none", **options: Any) -> Any:
        """See `ClientSync.request`; raises ValueError or RecursionError for no readable JSON."""
        body = super().request(path, *args, **options)
        return body if decoder == "none" else _values(body)


def _values(body: bytes) -> list[Any]:
    values = [json.loads(line) for line in body.split(b"\n") if line]
    for value in values:
        if isinstance(value, dict) and value.get("Type") == "error":
            raise exceptions.PartialErrorResponse(str(value.get("Message")))
    return values
