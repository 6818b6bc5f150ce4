"""A path proves one leaf at one index of a tree of one size, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot import merkle
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest, digest


def _leaves(count: int) -> list[Digest]:
    return [digest("test", number.to_bytes(4, "big")) for number in range(count)]


def _refused(root: Digest, leaf: Digest, index: int, size: int, path: tuple[Digest, ...]) -> None:
    with pytest.raises(Rejected) as caught:
        merkle.check_path(root, leaf, index, size, path)
    assert caught.value.reason is Reason.REVEAL_INVALID


def _by_hand(leaves: list[Digest]) -> Digest:
    """The largest power of two to the left, as RFC 6962 defines the tree."""
    if len(leaves) == 1:
        return digest("merkle-leaf", leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return digest("merkle-node", _by_hand(leaves[:split]), _by_hand(leaves[split:]))


@pytest.mark.parametrize("count", [*range(1, 34), 63, 64, 65, 127, 129])
def test_every_path_leads_to_the_root_and_to_no_other_place(count: int) -> None:
    leaves = _leaves(count)
    root, paths = merkle.root(leaves), merkle.paths(leaves)
    assert root == _by_hand(leaves)
    for index, (leaf, path) in enumerate(zip(leaves, paths, strict=True)):
        merkle.check_path(root, leaf, index, count, path)
        for other in {0, index - 1, index + 1, index ^ 1, count - 1, count} - {index}:
            _refused(root, leaf, other, count, path)
        _refused(root, digest("other"), index, count, path)
        if path:
            _refused(root, leaf, index, count, path[:-1])
        _refused(root, leaf, index, count, (*path, Digest(bytes(32))))


def test_the_size_is_part_of_what_is_checked() -> None:
    leaves = _leaves(5)
    root, paths = merkle.root(leaves), merkle.paths(leaves)
    _refused(root, leaves[4], 4, 6, paths[4])
    _refused(root, leaves[4], 4, 8, paths[4])
    _refused(root, leaves[0], 0, 1, paths[0])
    _refused(root, leaves[0], 0, 0, paths[0])
    _refused(root, leaves[0], -1, 5, paths[0])


def test_no_tree_has_the_root_of_another() -> None:
    roots = {merkle.root(_leaves(count)) for count in range(40)}
    assert len(roots) == 40
    assert merkle.root([]) == merkle.EMPTY_ROOT


def test_an_inner_node_is_no_leaf() -> None:
    """The second preimage of trees that hash leaves and nodes alike."""
    leaves = _leaves(4)
    left, right = merkle.root(leaves[:2]), merkle.root(leaves[2:])
    assert merkle.root([left, right]) != merkle.root(leaves)
    _refused(merkle.root(leaves), left, 0, 2, (right,))
    joined = Digest(leaves[0] + leaves[1])
    _refused(merkle.root(leaves), joined, 0, 2, (right,))


def test_a_repeated_last_leaf_changes_the_root() -> None:
    leaves = _leaves(3)
    assert merkle.root(leaves) != merkle.root([*leaves, leaves[-1]])


@settings(max_examples=100)
@given(count=st.integers(1, 40), data=st.data())
def test_no_byte_of_a_path_can_change(count: int, data: st.DataObject) -> None:
    leaves = _leaves(count)
    index = data.draw(st.integers(0, count - 1))
    path = list(merkle.paths(leaves)[index])
    if not path:
        return
    step = data.draw(st.integers(0, len(path) - 1))
    spoilt = bytearray(path[step])
    spoilt[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    path[step] = Digest(bytes(spoilt))
    _refused(merkle.root(leaves), leaves[index], index, count, tuple(path))
