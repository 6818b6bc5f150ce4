"""A node over JSON-RPC, whose errors are this project's.

What a later attempt may cure is `Transient`: no connection, a node that is overloaded, behind
or pruned, an answer that nobody can read. What it cannot is `Fatal`. Reverts and refused
transactions go on to who asked. The URL may hold a secret, so no message shows more of it than
the host.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider, Web3
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint, RPCResponse

from zkpot.errors import ExitCode, Fatal, Transient, ZkpotError
from zkpot_aggregator.answers import bound_answers, shown, speaks_http

_logger = logging.getLogger(__name__)

_REFUSED_STATUS = frozenset({401, 403})
_METHOD_NOT_FOUND = -32601
_SENDING = RPCEndpoint("eth_sendRawTransaction")
_SIMULATING = frozenset({"eth_call", "eth_estimateGas"})
_EXECUTION_REVERTED = 3
"""The error code of a revert (go-ethereum); the message says it too."""


class Endpoint(HTTPProvider):
    """One node; after `close` nothing more is asked, so that whoever waits for it can end."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._where = urlsplit(url).hostname or "the node"
        self._closed = False
        self._own_session = requests.Session()
        bound_answers(self._own_session)
        super().__init__(
            url,
            request_kwargs={"timeout": timeout_s},
            session=self._own_session,
            exception_retry_configuration=None,
        )

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """See `HTTPProvider.make_request`; raises as the module says."""
        if self._closed:
            raise Transient(f"{self._where}: no longer asked")
        try:
            response = super().make_request(method, params)
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if status in _REFUSED_STATUS:
                raise Fatal(
                    ExitCode.CREDENTIALS, f"{self._where} refuses access: HTTP status {status}"
                ) from None
            raise Transient(f"{self._where}: HTTP status {status}") from None
        except (requests.RequestException, OSError, ValueError, RecursionError) as error:
            raise Transient(f"{self._where}: {type(error).__name__}") from None
        if not _is_answer(response):
            raise Transient(f"{self._where}, {method}: not an answer of JSON-RPC")
        if "error" in response:
            self._judge(method, response["error"])
        return response

    def close(self) -> None:
        """Ends the connections, also for a thread that is still waiting for a transaction."""
        self._closed = True
        self._own_session.close()

    def _judge(self, method: RPCEndpoint, error: Any) -> None:
        """Raises unless the error is the answer to what was asked."""
        code = error.get("code") if isinstance(error, dict) else None
        message = str(error.get("message", "") if isinstance(error, dict) else error)
        reverted = code == _EXECUTION_REVERTED or "revert" in message.lower()
        if method == _SENDING or (method in _SIMULATING and reverted):
            return
        if code == _METHOD_NOT_FOUND:
            raise Fatal(ExitCode.LEDGER, f"{self._where} does not know {method}")
        raise Transient(f"{self._where}, {method}: {shown(message)}")


@contextmanager
def understood() -> Iterator[None]:
    """Around the use of a node: raises `Transient` for an answer that is not what was asked for.

    web3 and its readers have no common error for that: each library below raises its own.
    """
    try:
        yield
    except ZkpotError:
        raise
    except Exception as error:
        _logger.debug("an answer that cannot be read", exc_info=True)
        raise Transient(
            f"the node's answer cannot be read: {type(error).__name__}: {shown(str(error))}"
        ) from error


def _is_answer(response: object) -> bool:
    return isinstance(response, dict) and response.get("jsonrpc") == "2.0"


def connect(url: str, timeout_s: float) -> Web3:
    """A web3 over `url`; nothing is asked of it yet. Raises `Fatal` (CONFIG) for no HTTP URL."""
    if not speaks_http(url):
        raise Fatal(ExitCode.CONFIG, "the node's url: expected http:// or https:// and a host")
    web3 = Web3(Endpoint(url, timeout_s))
    # Chains whose blocks are signed by authorities put more there than web3 allows others.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    return web3
