"""The content store in an IPFS daemon, on its own and behind the directory."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.content.test_store import LARGE, TestObjects, TestPins, rejected
from tests.content.test_store import TestBlocks as BlockCases
from tests.real.ipfs import Ipfs, empty

from zkpot.cid import Cid, cid_text, node_cid, raw_cid, split_object
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot_aggregator.content.base import ContentStore, get_object, put_block, put_object
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.content.gateway import GatewayStore
from zkpot_aggregator.content.kubo import KuboStore, multiaddress, read_cid
from zkpot_aggregator.content.mirror import MirroredStore

pytestmark = [
    pytest.mark.ipfs,
    pytest.mark.enable_socket,
    # ipfshttpclient 0.7 hands urllib3 an argument of Python 2.
    pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning"),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ipfs]:
    running = Ipfs(tmp_path_factory.mktemp("ipfs"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def kubo(daemon: Ipfs) -> Iterator[KuboStore]:
    with daemon.store() as store:
        empty(store)
        yield store


@pytest.fixture(params=["kubo", "mirror"])
def store(request: pytest.FixtureRequest, kubo: KuboStore, tmp_path: Path) -> ContentStore:
    if request.param == "kubo":
        return kubo
    return MirroredStore(DirectoryStore(tmp_path / "content"), kubo)


class TestKuboBlocks(BlockCases):
    def test_a_damaged_block_is_not_returned_and_can_be_replaced(self, store: ContentStore) -> None:
        if isinstance(store, KuboStore):
            rejected(Reason.CID_MISMATCH, partial(store.put, raw_cid(b"block"), b"blocl"))
        else:
            super().test_a_damaged_block_is_not_returned_and_can_be_replaced(store)


class TestKuboObjects(TestObjects):
    def test_every_block_is_needed_and_checked(self, store: ContentStore) -> None:
        # A daemon names blocks by what they are: a damaged one has no place there.
        if not isinstance(store, KuboStore):
            super().test_every_block_is_needed_and_checked(store)


class TestKuboPins(TestPins):
    def test_a_pin_keeps_what_is_linked(self, kubo: KuboStore) -> None:
        first = put_object(kubo, LARGE)
        second = put_object(kubo, b"second", [first])
        put_block(kubo, raw_cid(b"stray"), b"stray")
        kubo.pin(second)
        kubo.collect_garbage()
        assert get_object(kubo, first) == LARGE
        assert not kubo.has(raw_cid(b"stray"))
        kubo.unpin(second)
        kubo.collect_garbage()
        assert not kubo.has(first)


del TestObjects, TestPins


class TestMirror:
    @pytest.fixture
    def daemon(self, tmp_path: Path) -> Iterator[Ipfs]:
        """One that a test may stop and damage."""
        running = Ipfs(tmp_path / "ipfs")
        running.start()
        yield running
        running.stop()

    @pytest.fixture
    def mirror(self, kubo: KuboStore, tmp_path: Path) -> MirroredStore:
        return MirroredStore(DirectoryStore(tmp_path / "content"), kubo)

    def test_only_a_pin_reaches_the_daemon(self, mirror: MirroredStore, kubo: KuboStore) -> None:
        cid = put_object(mirror, LARGE)
        assert not kubo.has(cid)
        mirror.pin(cid)
        assert kubo.pins() == {cid}
        assert get_object(kubo, cid) == LARGE
        mirror.unpin(cid)
        assert kubo.pins() == mirror.pins() == frozenset()

    def test_a_lost_repository_is_filled_again(
        self, mirror: MirroredStore, kubo: KuboStore, daemon: Ipfs
    ) -> None:
        old = put_object(mirror, LARGE)
        mirror.pin(old)
        daemon.stop()
        daemon.lose_repository()
        daemon.start()
        assert not kubo.has(old)
        new = put_object(mirror, b"new")
        mirror.pin(new)
        assert kubo.pins() == {old, new}
        assert get_object(kubo, old) == LARGE
        assert mirror.mend() == 0

    def test_a_daemon_that_is_away_holds_up_the_pin_alone(
        self, mirror: MirroredStore, kubo: KuboStore, daemon: Ipfs
    ) -> None:
        daemon.stop()
        cid = put_object(mirror, b"data")
        assert get_object(mirror, cid) == b"data"
        with pytest.raises(Transient):
            mirror.pin(cid)
        with pytest.raises(Transient):
            mirror.get(raw_cid(b"perhaps there"))
        daemon.start()
        mirror.pin(cid)
        assert kubo.pins() == {cid}

    def test_lost_local_blocks_come_back(
        self, mirror: MirroredStore, kubo: KuboStore, tmp_path: Path
    ) -> None:
        cid = put_object(mirror, LARGE)
        mirror.pin(cid)
        fresh = DirectoryStore(tmp_path / "fresh")
        assert get_object(MirroredStore(fresh, kubo), cid) == LARGE
        assert get_object(fresh, cid) == LARGE

    def test_what_others_pinned_stays(self, mirror: MirroredStore, kubo: KuboStore) -> None:
        foreign = put_object(kubo, b"foreign")
        kubo.pin(foreign)
        cid = put_object(mirror, b"ours")
        mirror.pin(cid)
        mirror.unpin(cid)
        assert kubo.pins() == {foreign}


class _Handler(BaseHTTPRequestHandler):
    """A gateway: `answers` holds what it says by path."""

    answers: dict[str, bytes]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        block = self.answers.get(path)
        self.send_response(404 if block is None else 200)
        self.end_headers()
        self.wfile.write(block or b"")

    def log_message(self, *_: object) -> None:
        pass


class TestGateway:
    @pytest.fixture
    def answers(self) -> dict[str, bytes]:
        return {}

    @pytest.fixture
    def gateway(self, answers: dict[str, bytes]) -> Iterator[GatewayStore]:
        handler = type("Handler", (_Handler,), {"answers": answers})
        server = HTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        store = GatewayStore(f"http://127.0.0.1:{server.server_port}/", timeout_s=5)
        yield store
        store.close()
        server.shutdown()
        thread.join()
        server.server_close()

    def serve(self, answers: dict[str, bytes], data: bytes) -> Cid:
        root, blocks = split_object(data)
        answers.update({f"/ipfs/{cid_text(cid)}": block for cid, block in blocks.items()})
        return root

    def test_objects(self, gateway: GatewayStore, answers: dict[str, bytes]) -> None:
        cid = self.serve(answers, LARGE)
        assert get_object(gateway, cid) == LARGE
        assert gateway.has(cid)
        assert not gateway.has(raw_cid(b"never"))
        rejected(Reason.NOT_FOUND, lambda: gateway.get(raw_cid(b"never")))

    def test_a_gateway_that_lies(self, gateway: GatewayStore, answers: dict[str, bytes]) -> None:
        cid = raw_cid(b"truth")
        for lie in (b"lie", b"", bytes(1 << 20)):
            answers[f"/ipfs/{cid_text(cid)}"] = lie
            with pytest.raises(Rejected) as error:
                gateway.get(cid)
            assert error.value.reason in (Reason.CID_MISMATCH, Reason.OVERSIZE)

    def test_it_is_read_only(self, gateway: GatewayStore) -> None:
        cid = node_cid(b"")
        for ask in (partial(gateway.put, cid, b""), partial(gateway.pin, cid)):
            with pytest.raises(Fatal):
                ask()

    def test_behind_the_mirror_a_liar_is_passed_over(
        self, gateway: GatewayStore, answers: dict[str, bytes], kubo: KuboStore, tmp_path: Path
    ) -> None:
        mirror = MirroredStore(DirectoryStore(tmp_path), kubo, [gateway])
        cid = self.serve(answers, LARGE)
        assert get_object(mirror, cid) == LARGE
        lied = raw_cid(b"truth")
        answers[f"/ipfs/{cid_text(lied)}"] = b"lie"
        rejected(Reason.NOT_FOUND, lambda: mirror.get(lied))

    def test_the_daemons_own(self, daemon: Ipfs, kubo: KuboStore) -> None:
        """js-ipfs serves no raw blocks; every Kubo since 0.13 does."""
        cid = put_object(kubo, LARGE)
        store = GatewayStore(daemon.gateway, timeout_s=10)
        try:
            assert get_object(store, cid) == LARGE
        except (Rejected, Transient):
            assert "ipfs-core" in kubo_name(daemon)
        finally:
            store.close()


def kubo_name(daemon: Ipfs) -> str:
    import requests

    return requests.post(f"{daemon.url}/api/v0/version", timeout=10).text


class TestNames:
    def test_base58(self) -> None:
        cid = node_cid(b"")
        alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
        number, text = int.from_bytes(cid, "big"), ""
        while number:
            number, digit = divmod(number, 58)
            text = alphabet[digit] + text
        assert read_cid("z" + text) == read_cid(cid_text(cid)) == cid
        for wrong in ("", "z", "z0", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"):
            with pytest.raises(Rejected):
                read_cid(wrong)

    def test_names_of_any_length_cost_nothing(self) -> None:
        with pytest.raises(Rejected) as caught:
            read_cid("z" + 10_000 * "2")
        assert caught.value.reason is Reason.MALFORMED, "it was turned into a number first"

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("http://127.0.0.1:5001", "/ip4/127.0.0.1/tcp/5001/http"),
            ("http://kubo:5001/", "/dns/kubo/tcp/5001/http"),
            ("https://ipfs.example", "/dns/ipfs.example/tcp/443/https"),
            ("http://[::1]:5001", "/ip6/::1/tcp/5001/http"),
        ],
    )
    def test_addresses(self, url: str, expected: str) -> None:
        assert multiaddress(url) == expected

    @pytest.mark.parametrize("url", ["", "127.0.0.1:5001", "ftp://x", "http://x:y", "http://x/y"])
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(Fatal) as error:
            multiaddress(url)
        assert error.value.exit_code is ExitCode.CONFIG
