"""A node that answers with anything: the ledger refuses to go on, in its own words."""

import copy
import json
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.real.anvil import CHAIN_ID, anvil, write_key

from zkpot.errors import Transient, ZkpotError
from zkpot.ids import Round, TaskId
from zkpot_aggregator.deploy import deploy
from zkpot_aggregator.ledger.calls import CreateTask, DrawBeacon, OpenRound, SealCommitments
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger, open_for_audit
from zkpot_aggregator.ledger.settings import JsonRpcSettings

pytestmark = [pytest.mark.chain, pytest.mark.enable_socket]

KEY = b"k" * 32
TASK = TaskId(b"T" * 32)
ONE = Round(1)
OPEN = OpenRound(TASK, ONE, TASK, b"r" * 32)
SECRET = "a-token-in-the-path"
MAX_ERROR_CHARACTERS = 1000
HOSTILE: tuple[object, ...] = (
    None, True, -1, 1.5, 10**400, "", "0x", "zz", "0xzz", "latest", [], {}, [None], "x" * 5000,
    "0x" + "ff" * 40, "\ud800",
)  # fmt: skip
SEED, PARTS = 20261123, 1

Place = tuple[str | int, ...]


@dataclass
class Liar:
    """Passes questions on to `node`, and changes one place in every answer to one method."""

    node: str
    method: str = ""
    place: Place = ()
    value: object = None
    asked: dict[str, set[Place]] = field(default_factory=dict)
    """The places of honest answers, by method."""
    session: requests.Session = field(default_factory=requests.Session)

    def answer(self, question: bytes) -> bytes:
        method = json.loads(question)["method"]
        answer = self.session.post(self.node, json=json.loads(question), timeout=10).json()
        self.asked.setdefault(method, set()).update(_places(answer))
        if method == self.method:
            answer = _changed(answer, self.place, self.value)
        return json.dumps(answer).encode()


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value[:1])
    for key, inner in items:
        yield from _places(inner, (*place, key))


def _changed(answer: Any, place: Place, value: object) -> Any:
    changed = inner = copy.deepcopy(answer)
    try:
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    except (LookupError, TypeError):
        return answer
    return changed


@contextmanager
def serving(liar: Liar) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = liar.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v3/{SECRET}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Site:
    """A liar before a node with a drawn round, and how to use it."""

    liar: Liar
    settings: JsonRpcSettings
    calls: Path

    def uses(self) -> tuple[Callable[[], object], ...]:
        """All that is ever asked of a node; each begins anew."""
        return (
            self._read,
            self._audit,
            lambda: self._submit(OPEN),
            lambda: self._submit(CreateTask(TaskId(secrets.token_bytes(32)), 1, (), 0)),
            lambda: deploy(self.settings.url, KEY),
        )

    def _submit(self, call: CreateTask | OpenRound) -> None:
        with JsonRpcLedger.open(self.settings, self.calls) as ledger:
            ledger.submit(call)

    def _read(self) -> None:
        with JsonRpcLedger.open(self.settings, self.calls) as ledger:
            ledger.wait_for_block(1, 0.05)
            ledger.round(TASK, ONE)

    def _audit(self) -> None:
        with open_for_audit(self.settings.url, self.settings.contract) as ledger:
            ledger.identity()
            ledger.task(TASK)
            ledger.events(TASK)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("hostile")
    with anvil(folder) as node:
        node.fund(KEY)
        liar = Liar(node.url)
        with serving(liar) as url:
            settings = JsonRpcSettings(
                chain_id=CHAIN_ID,
                contract=deploy(url, KEY).address,
                url=url,
                key_file=write_key(folder / "key", KEY),
                confirmations=0,
                poll_s=0.01,
                confirm_s=5,
            )
            with JsonRpcLedger.open(settings, folder / "calls.json") as ledger:
                for call in (CreateTask(TASK, 1, (), 0), OPEN, SealCommitments(TASK, ONE, TASK, 3)):
                    ledger.submit(call)
                ledger.wait_for_block(ledger.round(TASK, ONE).draw_height + 1, 5)
                ledger.submit(DrawBeacon(TASK, ONE))
            impatient = replace(settings, confirm_s=0.1, request_s=2)
            yield Site(liar, impatient, folder / "calls.json")


def lies(site: Site) -> Iterator[tuple[Callable[[], object], str, Place, object]]:
    """For each use and each method that it asks: a wrong result, and wrong parts of it."""
    chance = random.Random(SEED)
    for use in site.uses():
        site.liar.asked.clear()
        site.liar.method = ""
        use()
        for method, places in sorted(site.liar.asked.items()):
            yield use, method, ("result",), chance.choice(HOSTILE)
            for place in chance.choices(sorted(places, key=str), k=PARTS):
                yield use, method, place, chance.choice(HOSTILE)


def test_no_answer_of_a_node_is_more_than_an_error_of_ours(site: Site) -> None:
    for use, method, place, value in lies(site):
        site.liar.method, site.liar.place, site.liar.value = method, place, value
        try:
            use()
        except ZkpotError as error:
            said = str(error)
            assert SECRET not in said, (method, place, value)
            assert len(said) < MAX_ERROR_CHARACTERS, (method, place, value)


def test_a_block_that_is_no_number_is_not_remembered(site: Site) -> None:
    """It would stand in the file of calls, which nobody could read afterwards."""
    site.liar.method, site.liar.place = "eth_getTransactionReceipt", ("result", "blockNumber")
    site.liar.value = "latest"
    with JsonRpcLedger.open(site.settings, site.calls) as ledger, pytest.raises(Transient):
        ledger.submit(OPEN)
    site.liar.method = ""
    with JsonRpcLedger.open(site.settings, site.calls) as ledger:
        ledger.submit(OPEN)


def test_what_stood_is_not_missed_by_a_node_that_falls_behind(site: Site) -> None:
    """Of an endpoint's machines one has told of the effect, another answers the next question."""
    site.liar.method = ""
    task = TaskId(secrets.token_bytes(32))
    with JsonRpcLedger.open(replace(site.settings, confirm_s=5), site.calls) as ledger:
        receipt = ledger.submit(CreateTask(task, 1, (), 0))
        site.liar.method, site.liar.place = "eth_blockNumber", ("result",)
        site.liar.value = hex(receipt.block - 1)
        with pytest.raises(Transient, match="behind"):
            ledger.task(task)
        with pytest.raises(Transient, match="behind"):
            ledger.round(task, ONE)
        site.liar.method = ""
        assert ledger.task(task).last_round == 0


def test_blocks_signed_by_authorities_are_read_like_others(site: Site) -> None:
    """They carry signatures where the main chain has 32 bytes of nothing much."""
    site.liar.method, site.liar.place = "eth_getBlockByNumber", ("result", "extraData")
    site.liar.value = "0x" + "00" * 97
    for use in site.uses():
        use()
