"""The directory of blocks: files that are whole, and garbage that goes."""

import random
from pathlib import Path

import pytest

from zkpot.cid import BLOCK_BYTES, Cid, cid_text, raw_cid, split_object
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot.files import TEMPORARY
from zkpot_aggregator.content.base import get_block, get_object, put_block, put_object
from zkpot_aggregator.content.directory import DirectoryStore


def blocks_in(root: Path) -> set[str]:
    return {path.name for path in (root / "blocks").rglob("b*") if path.is_file()}


def test_it_comes_back(tmp_path: Path) -> None:
    cid = put_object(DirectoryStore(tmp_path), b"data")
    DirectoryStore(tmp_path).pin(cid)
    again = DirectoryStore(tmp_path)
    assert get_object(again, cid) == b"data"
    assert again.pins() == {cid}


def test_layout(tmp_path: Path) -> None:
    cid = raw_cid(b"block")
    put_block(DirectoryStore(tmp_path), cid, b"block")
    name = cid_text(cid)
    assert (tmp_path / "blocks" / name[-3:-1] / name).read_bytes() == b"block"


def test_opening_makes_nothing(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "new")
    assert not store.has(raw_cid(b""))
    assert store.pins() == frozenset()
    assert store.collect_garbage() == 0
    store.unpin(raw_cid(b""))
    assert not (tmp_path / "new").exists()


class TestGarbage:
    def test_what_pins_reach_stays(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        old = put_object(store, b"old record")
        new = put_object(store, b"new record", [old])
        lone = put_object(store, b"lone")
        put_block(store, raw_cid(b"stray"), b"stray")
        store.pin(new)
        store.pin(lone)
        assert store.collect_garbage() == 1
        store.unpin(lone)
        assert store.collect_garbage() == 2
        assert get_object(store, old) == b"old record"
        assert get_object(store, new) == b"new record"
        store.unpin(new)
        store.pin(old)
        assert store.collect_garbage() == 2
        assert blocks_in(tmp_path) == {cid_text(cid) for cid in split_object(b"old record")[1]}
        assert store.collect_garbage() == 0

    def test_shared_blocks_stay_for_the_other(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        shared = put_object(store, b"shared")
        one, two = (put_object(store, data, [shared]) for data in (b"one", b"two"))
        store.pin(one)
        store.pin(two)
        store.unpin(one)
        store.collect_garbage()
        assert get_object(store, shared) == b"shared"

    def test_a_long_history(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        head: Cid | None = None
        for number in range(60):
            head = put_object(store, str(number).encode(), [head] if head else [])
            store.pin(head)
        assert head is not None
        for cid in store.pins() - {head}:
            store.unpin(cid)
        assert store.collect_garbage() == 0

    def test_nothing_goes_while_a_pinned_manifest_is_damaged(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        cid = put_object(store, b"data")
        store.pin(cid)
        put_block(store, raw_cid(b"stray"), b"stray")
        store.put(cid, b"damaged")
        with pytest.raises(Rejected) as error:
            store.collect_garbage()
        assert error.value.reason is Reason.CID_MISMATCH
        assert len(blocks_in(tmp_path)) == 3

    def test_unfinished_files_go(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        cid = put_object(store, b"data")
        store.pin(cid)
        for folder in (tmp_path / "blocks").iterdir():
            (folder / f"{TEMPORARY}0123").write_bytes(b"half")
        (tmp_path / "pins" / f"{TEMPORARY}0123").write_bytes(b"")
        assert store.pins() == {cid}
        assert store.collect_garbage() == 0
        assert not list((tmp_path / "blocks").rglob(f"{TEMPORARY}*"))


def test_foreign_files_are_not_ours_to_delete(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.pin(put_object(store, b"data"))
    foreign = tmp_path / "pins" / "notes.txt"
    foreign.write_text("mine")
    with pytest.raises(Fatal, match=r"notes\.txt") as error:
        store.collect_garbage()
    assert error.value.exit_code is ExitCode.STATE
    foreign.unlink()
    folder = next((tmp_path / "blocks").iterdir())
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(Fatal):
        store.collect_garbage()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    cid = put_object(store, bytes(range(200)))
    rng = random.Random(3)
    for name in blocks_in(tmp_path):
        path = tmp_path / "blocks" / name[-3:-1] / name
        good = path.read_bytes()
        for _ in range(20):
            damaged = bytearray(good)
            damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(Rejected) as error:
                get_object(store, cid)
            assert error.value.reason is Reason.CID_MISMATCH
        path.write_bytes(good)
    assert get_object(store, cid) == bytes(range(200))


def test_of_a_file_that_is_too_long_only_the_beginning_is_read(tmp_path: Path) -> None:
    """A directory to audit comes from its operator, who can write there what he likes."""
    store = DirectoryStore(tmp_path)
    cid = raw_cid(b"block")
    put_block(store, cid, b"block")
    name = cid_text(cid)
    with (tmp_path / "blocks" / name[-3:-1] / name).open("r+b") as file:
        file.truncate(8 * BLOCK_BYTES)
    assert len(store.get(cid)) == BLOCK_BYTES + 1
    with pytest.raises(Rejected) as caught:
        get_block(store, cid)
    assert caught.value.reason is Reason.OVERSIZE


def test_a_store_that_cannot_write_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_text("in the way")
    store = DirectoryStore(tmp_path)
    with pytest.raises(Transient):
        put_object(store, b"data")
    (tmp_path / "blocks").unlink()
    cid = put_object(store, b"data")
    path = tmp_path / "blocks" / cid_text(cid)[-3:-1] / cid_text(cid)
    path.unlink()
    path.mkdir()
    with pytest.raises(Transient):
        store.get(cid)
