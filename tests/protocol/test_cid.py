"""Content addresses agree with the libraries, and objects are read whole or not at all."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import cbor2
import dag_cbor
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID

from zkpot.cid import (
    BLOCK_BYTES,
    MAX_LINKS,
    MAX_OBJECT_BYTES,
    Cid,
    check_block,
    cid_digest,
    cid_from_text,
    cid_text,
    is_node,
    join_object,
    node_cid,
    object_cid_from_digest,
    parse_manifest,
    raw_cid,
    split_object,
)
from zkpot.errors import Reason, Rejected


def _reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(Rejected) as caught:
        call()
    return caught.value.reason


def _manifest(node: object) -> tuple[Cid, bytes]:
    block = cbor2.dumps(node, canonical=True)
    return node_cid(block), block


def _link(cid: bytes) -> cbor2.CBORTag:
    return cbor2.CBORTag(42, b"\x00" + cid)


@given(block=st.binary(max_size=200))
def test_cids_agree_with_multiformats(block: bytes) -> None:
    hashed = ("sha2-256", hashlib.sha256(block).digest())
    for cid, codec in ((raw_cid(block), "raw"), (node_cid(block), "dag-cbor")):
        theirs = CID("base32", 1, codec, hashed)
        assert bytes(theirs) == cid
        assert str(theirs) == cid_text(cid)
        assert cid_from_text(str(theirs)) == cid
    assert cid_digest(raw_cid(block)) == hashed[1]
    assert object_cid_from_digest(cid_digest(node_cid(block))) == node_cid(block)


@pytest.mark.parametrize(
    "size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 5]
)
def test_objects_are_cut_into_blocks_and_joined(size: int) -> None:
    data = hashlib.shake_256(b"x").digest(size)
    references = (node_cid(b"a"), node_cid(b"b"))
    root, blocks = split_object(data, references)
    manifest = parse_manifest(root, blocks[root])
    assert manifest.size == size
    assert manifest.references == references
    assert len(manifest.leaves) == max(1, -(-size // BLOCK_BYTES))
    assert max(map(len, blocks.values())) <= BLOCK_BYTES
    assert join_object(root, blocks.__getitem__) == data
    node: Any = dag_cbor.decode(blocks[root])
    assert dag_cbor.encode(node) == blocks[root]
    assert [bytes(link) for link in node["data"]] == list(manifest.leaves)
    assert [bytes(link) for link in node["refs"]] == list(references)


def test_an_object_is_not_larger_than_the_limit() -> None:
    assert _reason(lambda: split_object(bytes(MAX_OBJECT_BYTES + 1))) is Reason.OVERSIZE
    full = [node_cid(bytes([n % 256, n // 256])) for n in range(MAX_LINKS - 1)]
    root, blocks = split_object(b"", full)
    assert len(blocks[root]) <= BLOCK_BYTES
    assert len(parse_manifest(root, blocks[root]).references) == MAX_LINKS - 1
    assert _reason(lambda: split_object(b"", [*full, full[0]])) is Reason.LIMIT


def test_a_changed_block_is_refused() -> None:
    root, blocks = split_object(b"data" * 50_000)
    for name in blocks:
        spoilt = {cid: data[:-1] + b"?" if cid == name else data for cid, data in blocks.items()}
        assert _reason(lambda kept=spoilt: join_object(root, kept.__getitem__)) is (  # type: ignore[misc]
            Reason.CID_MISMATCH
        )
    assert _reason(lambda: check_block(root, bytes(BLOCK_BYTES + 1))) is Reason.OVERSIZE


LEAF = raw_cid(b"")
NODE = node_cid(b"")
GOOD = {"data": [_link(LEAF)], "refs": [_link(NODE)], "size": 0}


def test_the_good_manifest_is_good() -> None:
    assert parse_manifest(*_manifest(GOOD)).leaves == (LEAF,)


@pytest.mark.parametrize(
    "node",
    [
        0,
        None,
        [],
        "text",
        b"bytes",
        {},
        {"data": [], "refs": [], "size": 0},
        {"data": [_link(LEAF)], "refs": []},
        {"data": [_link(LEAF)], "size": 0},
        {"refs": [], "size": 0},
        GOOD | {"more": 1},
        GOOD | {"size": 1 << 70},
        GOOD | {"size": -1},
        GOOD | {"size": 0.0},
        GOOD | {"size": False},
        GOOD | {"size": "0"},
        GOOD | {"size": None},
        GOOD | {"size": BLOCK_BYTES + 1},
        GOOD | {"data": [_link(LEAF)] * 2},
        GOOD | {"data": [_link(LEAF)] * 513, "size": MAX_OBJECT_BYTES + 1},
        GOOD | {"data": [_link(NODE)]},
        GOOD | {"refs": [_link(LEAF)]},
        GOOD | {"data": [1]},
        GOOD | {"data": [None]},
        GOOD | {"data": [LEAF]},
        GOOD | {"data": ["text"]},
        GOOD | {"data": [cbor2.CBORTag(43, b"\x00" + LEAF)]},
        GOOD | {"data": [cbor2.CBORTag(42, LEAF)]},
        GOOD | {"data": [cbor2.CBORTag(42, 5)]},
        GOOD | {"data": [cbor2.CBORTag(42, "\x00text")]},
        GOOD | {"data": [cbor2.CBORTag(42, [0])]},
        GOOD | {"data": 5},
        GOOD | {"data": None},
        GOOD | {"data": {"a": 1}},
        GOOD | {"data": "text"},
        GOOD | {"data": _link(LEAF)},
    ],
    ids=repr,
)
def test_malformed_manifests_are_rejected(node: object) -> None:
    assert _reason(lambda: parse_manifest(*_manifest(node))) is Reason.MALFORMED


def test_links_of_another_kind_are_rejected() -> None:
    sha512 = b"\x01\x55\x13\x20" + bytes(32)
    for link in (b"", LEAF[:-1], LEAF + b"\x00", sha512):
        node = GOOD | {"data": [_link(link)]}
        found = _reason(lambda bent=node: parse_manifest(*_manifest(bent)))  # type: ignore[misc]
        assert found is Reason.CID_MISMATCH


def test_a_manifest_in_another_form_is_rejected() -> None:
    block = cbor2.dumps(GOOD, canonical=True)
    for other in (
        block + b"\x00",
        b"\xd9\xd9\xf7" + block,
        cbor2.dumps(dict(reversed(list(GOOD.items()))), canonical=False),
        b"\xbf" + block[1:] + b"\xff",
    ):
        found = _reason(lambda bent=other: parse_manifest(node_cid(bent), bent))  # type: ignore[misc]
        assert found is Reason.MALFORMED


def test_a_leaf_is_no_manifest() -> None:
    block = cbor2.dumps(GOOD, canonical=True)
    assert _reason(lambda: parse_manifest(raw_cid(block), block)) is Reason.CID_MISMATCH
    assert is_node(NODE)
    assert not is_node(LEAF)


def test_a_size_that_the_leaves_do_not_have_is_rejected() -> None:
    leaf = raw_cid(b"four")
    root, block = _manifest({"data": [_link(leaf)], "refs": [], "size": 5})
    blocks = {root: block, leaf: b"four"}
    assert _reason(lambda: join_object(root, blocks.__getitem__)) is Reason.MALFORMED


@settings(max_examples=300)
@given(data=st.binary(max_size=120))
def test_random_manifests_are_rejected(data: bytes) -> None:
    with pytest.raises(Rejected):
        parse_manifest(node_cid(data), data)


@settings(max_examples=300)
@given(
    position=st.integers(0, len(cbor2.dumps(GOOD)) - 1),
    insert=st.binary(max_size=4),
    bit=st.integers(0, 7),
)
def test_mutated_manifests_are_read_or_rejected(position: int, insert: bytes, bit: int) -> None:
    block = bytearray(cbor2.dumps(GOOD, canonical=True))
    block[position] ^= 1 << bit
    block[position:position] = insert
    try:
        manifest = parse_manifest(node_cid(bytes(block)), bytes(block))
    except Rejected:
        return
    assert len(manifest.leaves) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        cid_text(LEAF)[:-1],
        cid_text(LEAF) + "a",
        cid_text(LEAF).upper(),
        "z" + cid_text(LEAF)[1:],
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "b" + base64.b32encode(b"\x01\x55\x13\x20" + bytes(32)).decode().lower().rstrip("="),
        "b" + "\N{LATIN SMALL LETTER DOTLESS I}" * 58,
    ],
)
def test_other_text_is_no_cid(text: str) -> None:
    assert _reason(lambda: cid_from_text(text)) is Reason.CID_MISMATCH
