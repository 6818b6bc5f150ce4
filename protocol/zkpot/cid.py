"""Content addresses: blocks of at most 128 KiB, and objects made of them.

An object is any byte string. Its bytes stand in raw leaves; one dag-cbor manifest lists
the leaves, the object's size and the other objects it refers to, so that a recursive pin
of the manifest keeps everything. The CID of an object is the CID of its manifest.

Only CIDv1 with SHA-256 exists here, in the codecs raw and dag-cbor, so the few bytes of
its encoding are written out instead of importing a registry of every codec; the tests
hold them against `multiformats` and `dag-cbor`.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NewType

import cbor2

from zkpot.errors import Reason, Rejected

Cid = NewType("Cid", bytes)
"""36 bytes: version 1, codec, SHA-256 multihash."""

BLOCK_BYTES = 128 * 1024
"""Largest block. Fits an MQTT message with its envelope, and far below Kubo's 2 MiB."""

MAX_LINKS = 3072
"""Links in one manifest: 123 KiB of links, so the manifest fits in a block itself."""

MAX_OBJECT_BYTES = BLOCK_BYTES * 512
"""64 MiB: the largest object anybody is asked to fetch."""

_RAW = bytes((0x01, 0x55, 0x12, 0x20))
_DAG_CBOR = bytes((0x01, 0x71, 0x12, 0x20))
_CID_TAG = 42
CID_BYTES = 36


@dataclass(frozen=True)
class Manifest:
    """The root of an object: its leaves in order, its size in bytes, what it refers to."""

    leaves: tuple[Cid, ...]
    size: int
    references: tuple[Cid, ...]


def raw_cid(block: bytes) -> Cid:
    """CID of `block` as a raw leaf (`bafkrei…`)."""
    return Cid(_RAW + hashlib.sha256(block).digest())


def node_cid(block: bytes) -> Cid:
    """CID of `block` as a dag-cbor node (`bafyrei…`)."""
    return Cid(_DAG_CBOR + hashlib.sha256(block).digest())


def is_node(cid: Cid) -> bool:
    """Whether `cid` names a manifest rather than a leaf."""
    return cid[:4] == _DAG_CBOR


def cid_text(cid: Cid) -> str:
    """Multibase base32, as IPFS tools print it."""
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


def cid_from_text(text: str) -> Cid:
    """Inverse of `cid_text`; raises `Rejected` for any other kind of CID."""
    try:
        raw = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
        cid = cid_from_bytes(raw)
    except ValueError as error:
        raise Rejected(Reason.CID_MISMATCH, f"not a CID: {text[:80]!r}") from error
    if cid_text(cid) != text:
        raise Rejected(Reason.CID_MISMATCH, f"not a canonical CID: {text[:80]!r}")
    return cid


def cid_from_bytes(raw: bytes) -> Cid:
    """Checks the form of a binary CID; raises `Rejected` for any other kind."""
    if len(raw) != CID_BYTES or raw[:4] not in (_RAW, _DAG_CBOR):
        raise Rejected(Reason.CID_MISMATCH, f"unsupported CID {raw[:40].hex()}")
    return Cid(raw)


def cid_digest(cid: Cid) -> bytes:
    """The 32 bytes of SHA-256 inside `cid`, which is what goes on chain."""
    return cid[4:]


def object_cid_from_digest(sha256: bytes) -> Cid:
    """The object whose manifest has this hash."""
    return cid_from_bytes(_DAG_CBOR + sha256)


def check_block(cid: Cid, block: bytes) -> bytes:
    """Returns `block` if it is the one `cid` names; raises `Rejected` otherwise."""
    if len(block) > BLOCK_BYTES:
        raise Rejected(Reason.OVERSIZE, f"block of {len(block)} bytes, at most {BLOCK_BYTES}")
    found = Cid(cid[:4] + hashlib.sha256(block).digest())
    if found != cid:
        raise Rejected(Reason.CID_MISMATCH, f"expected {cid_text(cid)}, got {cid_text(found)}")
    return block


def split_object(data: bytes, references: Iterable[Cid] = ()) -> tuple[Cid, dict[Cid, bytes]]:
    """Cuts `data` into blocks; returns the object's CID and every block by its CID."""
    if len(data) > MAX_OBJECT_BYTES:
        raise Rejected(Reason.OVERSIZE, f"object of {len(data)} bytes, at most {MAX_OBJECT_BYTES}")
    blocks: dict[Cid, bytes] = {}
    leaves = []
    for start in range(0, max(len(data), 1), BLOCK_BYTES):
        leaf = data[start : start + BLOCK_BYTES]
        leaves.append(raw_cid(leaf))
        blocks[leaves[-1]] = leaf
    node = _encode_manifest(Manifest(tuple(leaves), len(data), tuple(references)))
    root = node_cid(node)
    blocks[root] = node
    return root, blocks


def parse_manifest(cid: Cid, block: bytes) -> Manifest:
    """Checks and reads the manifest `cid` names; raises `Rejected` for anything else."""
    check_block(cid, block)
    if not is_node(cid):
        raise Rejected(Reason.CID_MISMATCH, f"{cid_text(cid)} names a leaf, not an object")
    try:
        node = cbor2.loads(block)
        manifest = Manifest(
            leaves=_links(node["data"]), size=node["size"], references=_links(node["refs"])
        )
        well_formed = (
            type(manifest.size) is int
            and all(not is_node(leaf) for leaf in manifest.leaves)
            and all(is_node(reference) for reference in manifest.references)
            and len(manifest.leaves) == max(1, -(-manifest.size // BLOCK_BYTES))
            and 0 <= manifest.size <= MAX_OBJECT_BYTES
            and _encode_manifest(manifest) == block
        )
    except (cbor2.CBORError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED, f"manifest {cid_text(cid)}") from error
    if not well_formed:
        raise Rejected(Reason.MALFORMED, f"manifest {cid_text(cid)} is not in canonical form")
    return manifest


def join_object(cid: Cid, get_block: Callable[[Cid], bytes]) -> bytes:
    """Reads the object `cid` through `get_block`, checking every block by its hash."""
    manifest = parse_manifest(cid, get_block(cid))
    data = b"".join(check_block(leaf, get_block(leaf)) for leaf in manifest.leaves)
    if len(data) != manifest.size:
        raise Rejected(
            Reason.MALFORMED, f"{cid_text(cid)}: {len(data)} bytes, manifest says {manifest.size}"
        )
    return data


def _encode_manifest(manifest: Manifest) -> bytes:
    if len(manifest.leaves) + len(manifest.references) > MAX_LINKS:
        raise Rejected(Reason.LIMIT, f"more than {MAX_LINKS} links in one manifest")
    return cbor2.dumps(
        {
            "data": [cbor2.CBORTag(_CID_TAG, b"\x00" + leaf) for leaf in manifest.leaves],
            "refs": [cbor2.CBORTag(_CID_TAG, b"\x00" + ref) for ref in manifest.references],
            "size": manifest.size,
        },
        canonical=True,
    )


def _links(nodes: Iterable[object]) -> tuple[Cid, ...]:
    return tuple(_link(node) for node in nodes)


def _link(node: object) -> Cid:
    match node:
        case cbor2.CBORTag(tag=tag, value=bytes(value)) if tag == _CID_TAG and value[:1] == b"\x00":
            return cid_from_bytes(value[1:])
    raise ValueError("not a link")
