"""The few bytes of our CIDs and manifests are those that everybody else writes."""

from typing import Any

import dag_cbor
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import CID, multihash

from zkpot.cid import (
    BLOCK_BYTES,
    Cid,
    cid_digest,
    cid_from_bytes,
    cid_from_text,
    cid_text,
    node_cid,
    object_cid_from_digest,
    parse_manifest,
    raw_cid,
    split_object,
)


def library_cid(codec: str, block: bytes) -> CID:
    return CID("base32", 1, codec, multihash.digest(block, "sha2-256"))


@given(block=st.binary(max_size=200))
def test_cids_against_multiformats(block: bytes) -> None:
    for ours, codec in ((raw_cid(block), "raw"), (node_cid(block), "dag-cbor")):
        theirs = library_cid(codec, block)
        assert bytes(theirs) == ours
        assert str(theirs) == cid_text(ours)
        assert cid_from_text(str(theirs)) == cid_from_bytes(bytes(theirs)) == ours
        assert theirs.raw_digest == cid_digest(ours)


def links(cids: tuple[Cid, ...]) -> list[CID]:
    return [CID.decode(bytes(cid)) for cid in cids]


@pytest.mark.parametrize("size", [0, 1, 23, 24, 256, BLOCK_BYTES, BLOCK_BYTES + 1])
@pytest.mark.parametrize("references", [0, 1, 30])
def test_manifests_against_dag_cbor(size: int, references: int) -> None:
    refs = tuple(node_cid(bytes([number])) for number in range(references))
    root, blocks = split_object(bytes(size), refs)
    manifest = parse_manifest(root, blocks[root])
    node: Any = {"data": links(manifest.leaves), "refs": links(refs), "size": size}
    assert dag_cbor.encode(node) == blocks[root]
    assert dag_cbor.decode(blocks[root]) == node
    assert object_cid_from_digest(cid_digest(root)) == root
