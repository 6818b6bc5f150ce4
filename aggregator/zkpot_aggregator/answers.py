"""What another machine answers over HTTP, bounded in size and in time.

requests takes whatever comes, for as long as it comes: its time-out is for each read alone.
"""

import io
import time
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

MAX_ANSWER_BYTES = 32 << 20
"""Of any answer: a hundred thousand pins, tens of thousands of events."""

MAX_ERROR_BYTES = 16 << 10
"""What is read of the body of an error; the rest is dropped."""

ANSWER_S = 300.0
"""Within which a body has come."""

_CHUNK_BYTES = 1 << 16
_SHOWN_CHARACTERS = 300


class AnswerTooLong(requests.RequestException):
    """The body is longer than anything that was asked for."""


def speaks_http(url: str) -> bool:
    """Whether `url` is one of HTTP; it may hold a secret, so nothing else is said about it."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def shown(said: str) -> str:
    """As much of what another machine says in an error as our own errors repeat."""
    return said[:_SHOWN_CHARACTERS]


def bound_answers(
    session: requests.Session, *, max_bytes: int = MAX_ANSWER_BYTES, within_s: float = ANSWER_S
) -> None:
    """Has every answer in `session` read as by `read_body`, of an error only the beginning."""

    def read(response: requests.Response, **_: Any) -> None:
        if response.ok:
            body = read_body(response, max_bytes, within_s)
        else:
            body = _read(response, MAX_ERROR_BYTES, within_s)
        response.raw = io.BytesIO(body)

    session.hooks["response"].append(read)


def read_body(response: requests.Response, max_bytes: int, within_s: float = ANSWER_S) -> bytes:
    """The decoded body of an answer that nobody has read yet.

    Raises `AnswerTooLong`, `requests.ReadTimeout` or `requests.ConnectionError`.
    """
    body = _read(response, max_bytes + 1, within_s)
    if len(body) > max_bytes:
        raise AnswerTooLong(f"more than {max_bytes} bytes")
    return body


def _read(response: requests.Response, most_bytes: int, within_s: float) -> bytes:
    """The first `most_bytes` of the body; whoever sends more is cut off."""
    end = time.monotonic() + within_s
    body = bytearray()
    try:
        while len(body) < most_bytes:
            room = min(_CHUNK_BYTES, most_bytes - len(body))
            chunk = response.raw.read1(room, decode_content=True)
            if not chunk:
                break
            body += chunk
            if time.monotonic() > end:
                raise requests.ReadTimeout(f"no end after {within_s} s")
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error
    finally:
        response.close()
    return bytes(body)
