"""What every content store does, and the checks that stand above all of them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from zkpot.cid import BLOCK_BYTES, Cid, node_cid, parse_manifest, raw_cid, split_object
from zkpot.errors import Reason, Rejected
from zkpot_aggregator.content.base import (
    ContentStore,
    get_block,
    get_object,
    put_block,
    put_object,
)
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.content.memory import MemoryStore

LARGE = random.Random(1).randbytes(2 * BLOCK_BYTES + 4)
"""Two full blocks and a short one."""


@pytest.fixture(
    params=[
        pytest.param(lambda _: MemoryStore(), id="memory"),
        pytest.param(DirectoryStore, id="directory"),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    make: Callable[[Path], ContentStore] = request.param
    return make(tmp_path / "content")


def rejected(reason: Reason, ask: Callable[[], object]) -> None:
    with pytest.raises(Rejected) as error:
        ask()
    assert error.value.reason is reason


class TestBlocks:
    def test_round_trip(self, store: ContentStore) -> None:
        cid = raw_cid(b"block")
        assert not store.has(cid)
        put_block(store, cid, b"block")
        put_block(store, cid, b"block")
        assert store.has(cid)
        assert get_block(store, cid) == b"block"

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES])
    def test_sizes(self, store: ContentStore, size: int) -> None:
        block = bytes(size)
        put_block(store, raw_cid(block), block)
        assert get_block(store, raw_cid(block)) == block

    def test_missing(self, store: ContentStore) -> None:
        rejected(Reason.NOT_FOUND, lambda: store.get(raw_cid(b"never")))

    def test_what_does_not_hash_to_its_name_is_not_stored(self, store: ContentStore) -> None:
        cid = raw_cid(b"block")
        rejected(Reason.CID_MISMATCH, lambda: put_block(store, cid, b"other"))
        large = bytes(BLOCK_BYTES + 1)
        rejected(Reason.OVERSIZE, lambda: put_block(store, raw_cid(large), large))
        assert not store.has(cid)

    def test_a_damaged_block_is_not_returned_and_can_be_replaced(self, store: ContentStore) -> None:
        cid = raw_cid(b"block")
        for damaged in (b"blocl", b"", b"block" + bytes(1)):
            store.put(cid, damaged)
            rejected(Reason.CID_MISMATCH, lambda: get_block(store, cid))
        put_block(store, cid, b"block")
        assert get_block(store, cid) == b"block"


class TestObjects:
    @pytest.mark.parametrize(
        "data", [b"", b"small", bytes(BLOCK_BYTES), LARGE], ids=["empty", "small", "full", "large"]
    )
    def test_round_trip(self, store: ContentStore, data: bytes) -> None:
        cid = put_object(store, data)
        assert cid == split_object(data)[0]
        assert get_object(store, cid) == data

    def test_every_block_is_needed_and_checked(self, store: ContentStore) -> None:
        cid, blocks = split_object(LARGE)
        assert len(blocks) == 4
        for missing, block in blocks.items():
            put_object(store, LARGE)
            for bit in (0, 8 * len(block) - 1):
                damaged = bytearray(block)
                damaged[bit // 8] ^= 1 << bit % 8
                store.put(missing, bytes(damaged))
                rejected(Reason.CID_MISMATCH, lambda: get_object(store, cid))

    def test_a_leaf_is_not_an_object(self, store: ContentStore) -> None:
        put_block(store, raw_cid(b"leaf"), b"leaf")
        rejected(Reason.CID_MISMATCH, lambda: get_object(store, raw_cid(b"leaf")))

    def test_references_stand_in_the_manifest(self, store: ContentStore) -> None:
        first = put_object(store, b"first")
        second = put_object(store, b"second", [first])
        assert second != put_object(store, b"second")
        assert parse_manifest(second, get_block(store, second)).references == (first,)


class TestPins:
    def test_roots_only(self, store: ContentStore) -> None:
        first = put_object(store, b"first")
        second = put_object(store, LARGE, [first])
        assert store.pins() == frozenset()
        store.pin(second)
        store.pin(second)
        assert store.pins() == {second}
        store.pin(first)
        assert store.pins() == {first, second}
        store.unpin(second)
        store.unpin(second)
        assert store.pins() == {first}

    def test_incomplete_objects_are_not_pinned(self, store: ContentStore) -> None:
        first, _ = split_object(b"never put")
        rejected(Reason.NOT_FOUND, lambda: store.pin(first))
        second = put_object(store, b"second", [first])
        rejected(Reason.NOT_FOUND, lambda: store.pin(second))
        root, blocks = split_object(LARGE)
        store.put(root, blocks[root])
        rejected(Reason.NOT_FOUND, lambda: store.pin(root))
        assert store.pins() == frozenset()

    def test_what_is_no_manifest_is_not_pinned(self, store: ContentStore) -> None:
        junk = Cid(node_cid(b"junk"))
        store.put(junk, b"junk")
        rejected(Reason.MALFORMED, lambda: store.pin(junk))
        assert store.pins() == frozenset()


class _Liar(MemoryStore):
    """Stores something else than it is given."""

    def put(self, cid: Cid, block: bytes) -> None:
        super().put(cid, block + b"!")


def test_a_store_that_lies_is_found_out_at_the_put() -> None:
    rejected(Reason.CID_MISMATCH, lambda: put_object(_Liar(), b"data"))
