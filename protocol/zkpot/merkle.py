"""Merkle trees over digests, with leaves and nodes hashed apart (RFC 6962, section 2.1).

The last node of an odd level is carried up unchanged, so every number of leaves has one
tree. A path is checked against the index and the number of leaves, not only the root.
"""

from collections.abc import Sequence

from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest, digest

EMPTY_ROOT = digest("merkle-empty")
MAX_PATH = 40


def root(leaves: Sequence[Digest]) -> Digest:
    """Root of the tree over `leaves`; `EMPTY_ROOT` if there are none."""
    level = [_leaf(leaf) for leaf in leaves]
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else EMPTY_ROOT


def paths(leaves: Sequence[Digest]) -> list[tuple[Digest, ...]]:
    """The path of every leaf: its siblings from the bottom up."""
    positions = list(range(len(leaves)))
    result: list[list[Digest]] = [[] for _ in leaves]
    level = [_leaf(leaf) for leaf in leaves]
    while len(level) > 1:
        for leaf, position in enumerate(positions):
            if position ^ 1 < len(level):
                result[leaf].append(level[position ^ 1])
            positions[leaf] = position // 2
        level = _parents(level)
    return [tuple(path) for path in result]


def check_path(
    expected_root: Digest, leaf: Digest, index: int, size: int, path: Sequence[Digest]
) -> None:
    """Raises `Rejected` unless `leaf` is leaf `index` of the tree of `size` leaves."""
    if not 0 <= index < size:
        raise Rejected(Reason.REVEAL_INVALID, f"leaf {index} of {size}")
    node, position, width, siblings = _leaf(leaf), index, size, list(path)
    while width > 1:
        if position ^ 1 < width:
            if not siblings:
                raise Rejected(Reason.REVEAL_INVALID, f"path of leaf {index} is too short")
            sibling = siblings.pop(0)
            pair = (sibling, node) if position & 1 else (node, sibling)
            node = _node(*pair)
        position, width = position // 2, (width + 1) // 2
    if siblings or node != expected_root:
        raise Rejected(Reason.REVEAL_INVALID, f"path of leaf {index} does not lead to the root")


def _leaf(leaf: Digest) -> Digest:
    return digest("merkle-leaf", leaf)


def _node(left: Digest, right: Digest) -> Digest:
    return digest("merkle-node", left, right)


def _parents(level: list[Digest]) -> list[Digest]:
    pairs = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return pairs + (level[-1:] if len(level) % 2 else [])
