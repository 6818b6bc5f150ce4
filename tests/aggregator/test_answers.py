"""Answers of a hostile node, IPFS daemon or gateway: endless, nested without end, or nonsense."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from zkpot.cid import raw_cid
from zkpot.errors import Reason, Rejected, Transient
from zkpot_aggregator.answers import (
    MAX_ANSWER_BYTES,
    MAX_ERROR_BYTES,
    AnswerTooLong,
    bound_answers,
    read_body,
)
from zkpot_aggregator.content.gateway import GatewayStore
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.ledger.jsonrpc import open_for_audit

pytestmark = pytest.mark.enable_socket

BLOCK = b"block"
CID = raw_cid(BLOCK)
CONTRACT = "0x" + "11" * 20
NESTED = b"[" * 200_000


def endless() -> Iterator[bytes]:
    """More than anybody takes, but not more than the test's own machine would survive."""
    chunk = b'"' * (1 << 16)
    for _ in range(4 * MAX_ANSWER_BYTES // len(chunk)):
        yield chunk


def trickle() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    """Says `body` to everything, and counts what it got rid of."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = 200
        self.announced: int | None = None
        """The Content-Length, if there is one."""
        self.body: Callable[[], Iterator[bytes]] = lambda: iter(())
        self.sent = 0

    def say(self, body: bytes) -> None:
        self.body = lambda: iter((body,))


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        if self.server.announced is not None:
            self.send_header("Content-Length", str(self.server.announced))
        self.end_headers()
        try:
            for chunk in self.server.body():
                self.wfile.write(chunk)
                self.server.sent += len(chunk)
        except OSError:
            self.close_connection = True

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def rpc(url: str) -> Any:
    with open_for_audit(url, CONTRACT) as ledger:
        return ledger.identity()


def of_kubo(ask: Callable[[KuboStore], Any]) -> Callable[[str], Any]:
    def asked(url: str) -> Any:
        with KuboStore(url) as store:
            return ask(store)

    return asked


def gateway(url: str) -> Any:
    store = GatewayStore(url)
    try:
        return store.get(CID)
    finally:
        store.close()


pins = of_kubo(lambda store: store.pins())
ASKS = {
    "rpc": rpc,
    "version": of_kubo(lambda store: store.version()),
    "pins": pins,
    "put": of_kubo(lambda store: store.put(CID, BLOCK)),
}
"""What is answered in JSON."""


class TestBounds:
    def ask(self, server: Server, **bounds: Any) -> requests.Response:
        with requests.Session() as session:
            bound_answers(session, **bounds)
            return session.get(server.url, timeout=30)

    def test_as_long_as_allowed(self, server: Server) -> None:
        server.say(b"x" * 100_000)
        assert self.ask(server, max_bytes=100_000).content == b"x" * 100_000
        with pytest.raises(AnswerTooLong):
            self.ask(server, max_bytes=99_999)

    def test_without_being_read(self, server: Server) -> None:
        server.say(BLOCK)
        with requests.get(server.url, timeout=30, stream=True) as response:
            assert read_body(response, len(BLOCK)) == BLOCK

    def test_an_end_that_never_comes(self, server: Server) -> None:
        server.body = trickle
        with pytest.raises(requests.ReadTimeout):
            self.ask(server, within_s=0.1)

    def test_an_end_that_comes_too_early(self, server: Server) -> None:
        server.announced = 100
        server.say(BLOCK)
        with pytest.raises(requests.ConnectionError):
            self.ask(server)
        with pytest.raises(Transient):
            gateway(server.url)

    def test_of_an_error_only_the_beginning(self, server: Server) -> None:
        server.status, server.body = 500, endless
        response = self.ask(server)
        assert response.status_code == 500
        assert len(response.content) == MAX_ERROR_BYTES


class TestHostile:
    @pytest.mark.parametrize("ask", [rpc, pins, of_kubo(lambda store: store.get(CID))])
    def test_endless(self, server: Server, ask: Callable[[str], Any]) -> None:
        server.body = endless
        with pytest.raises(Transient, match="AnswerTooLong"):
            ask(server.url)
        assert server.sent < 2 * MAX_ANSWER_BYTES

    def test_endless_block_of_a_gateway(self, server: Server) -> None:
        server.body = endless
        with pytest.raises(Rejected) as error:
            gateway(server.url)
        assert error.value.reason is Reason.OVERSIZE
        assert server.sent < MAX_ANSWER_BYTES

    @pytest.mark.parametrize("kind", ASKS)
    @pytest.mark.parametrize("body", [b"", b"null", b"5", b"[]", b"{}", b'{"Keys": 5}', b'""' * 9])
    def test_nonsense(self, server: Server, kind: str, body: bytes) -> None:
        server.say(body)
        with pytest.raises(Transient):
            ASKS[kind](server.url)

    def test_long_errors_are_shown_short(self, server: Server) -> None:
        server.say(b'{"jsonrpc": "2.0", "id": 0, "error": {"message": "%s"}}' % (b"x" * 100_000))
        with pytest.raises(Transient) as error:
            rpc(server.url)
        assert len(str(error.value)) < 1000

    def test_an_error_after_the_status(self, server: Server) -> None:
        server.say(b'{"Message": "the disk is full", "Code": 0, "Type": "error"}\n')
        with pytest.raises(Transient, match="the disk is full"):
            pins(server.url)


CHILD = """
import sys
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.ledger.evm import Evm
from zkpot_aggregator.ledger.jsonrpc import open_for_audit
from zkpot.errors import Transient

def daemon(url):
    with KuboStore(url) as store:
        store.pins()

def node(url):
    with open_for_audit(url, sys.argv[2]) as ledger:
        ledger.identity()

for ask in daemon, node:
    try:
        ask(sys.argv[1])
    except Transient as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("status", "node_says"), [(200, "RecursionError"), (500, "HTTP status 500")]
)
def test_nested_without_end(server: Server, status: int, node_says: str) -> None:
    """In a process of its own: what it must not do is die."""
    server.status = status
    server.say(NESTED)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, server.url, CONTRACT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "127.0.0.1, pin/ls: RecursionError",
        f"127.0.0.1: {node_says}",
    ]
