"""The pure core of block transfer, against peers that lose, repeat, reorder and forge."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.cid import BLOCK_BYTES, Cid, join_object, node_cid, raw_cid, split_object
from zkpot.errors import Reason, Rejected
from zkpot.link.download import (
    LONGEST_TIMEOUT_S,
    Action,
    Answer,
    Ask,
    Done,
    Download,
    Keep,
    Reconnected,
    Tick,
)

# One byte of each leaf differs, so that equal leaves (runs of zeros) occur as well.
DATA = b"".join(bytes([number % 5]) * BLOCK_BYTES for number in range(9)) + b"tail"
ROOT, BLOCKS = split_object(DATA)


def nothing(_: Cid) -> bytes | None:
    return None


@dataclass
class Peer:
    """A store on one side, a peer on the other, and what is under way between them."""

    download: Download
    store: dict[Cid, bytes] = field(default_factory=dict)
    under_way: list[tuple[Cid, bytes | None]] = field(default_factory=list)
    asked: int = 0
    done: bool = False

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Ask(cids):
                    assert 0 < len(cids) <= self.window
                    self.asked += len(cids)
                    self.under_way += [(cid, BLOCKS[cid]) for cid in cids]
                case Keep(cid, data):
                    assert BLOCKS[cid] == data
                    assert cid not in self.store
                    self.store[cid] = data
                case Done():
                    self.done = True

    window: int = 4


def _begin(store: dict[Cid, bytes] | None = None, window: int = 4) -> Peer:
    held = {} if store is None else store
    peer = Peer(Download(ROOT, held.get, window=window), held, window=window)
    peer.carry_out(peer.download.start(0))
    return peer


FATES = st.sampled_from(["deliver", "lose", "repeat", "corrupt", "absent", "other", "reconnect"])


@settings(max_examples=150)
@given(
    fates=st.lists(st.tuples(FATES, st.integers(0, 2**16)), max_size=60),
    window=st.integers(1, 8),
    held=st.sets(st.sampled_from(sorted(BLOCKS))),
)
def test_any_peer_that_answers_in_the_end_completes_the_object(
    fates: list[tuple[str, int]], window: int, held: set[Cid]
) -> None:
    peer = _begin({cid: BLOCKS[cid] for cid in held}, window)
    now = 0.0
    for fate, choice in fates:
        if peer.done:
            break
        now += 0.01
        if fate == "reconnect":
            peer.under_way.clear()
            peer.carry_out(peer.download.step(Reconnected(), now))
            continue
        if not peer.under_way:
            now = peer.download.wakes_at
            peer.carry_out(peer.download.step(Tick(), now))
            continue
        cid, data = peer.under_way.pop(choice % len(peer.under_way))
        assert data is not None
        answer_of: dict[str, list[tuple[Cid, bytes | None]]] = {
            "deliver": [(cid, data)],
            "lose": [],
            "repeat": [(cid, data), (cid, data)],
            "corrupt": [(cid, data[:-1] + bytes([data[-1] ^ 1]))],
            "absent": [(cid, None)],
            "other": [(raw_cid(b"unasked"), b"unasked")],
        }
        for answer in answer_of[fate]:
            peer.carry_out(peer.download.step(Answer(*answer), now))
    for _ in range(200):
        if peer.done:
            break
        if peer.under_way:
            peer.carry_out(peer.download.step(Answer(*peer.under_way.pop()), now))
        else:
            now = peer.download.wakes_at
            peer.carry_out(peer.download.step(Tick(), now))
    assert peer.done
    assert join_object(ROOT, peer.store.__getitem__) == DATA
    assert peer.download.progress == (len(BLOCKS), len(BLOCKS))


def test_nothing_is_asked_for_that_is_there() -> None:
    peer = _begin(dict(BLOCKS))
    assert peer.done
    assert peer.asked == 0


def test_each_block_is_asked_for_once_by_a_good_peer() -> None:
    peer = _begin()
    while not peer.done:
        peer.carry_out(peer.download.step(Answer(*peer.under_way.pop(0)), 0))
    assert peer.asked == len(BLOCKS)


def test_the_pause_doubles_up_to_its_cap_and_falls_back_with_progress() -> None:
    peer = _begin()
    now, pauses = 0.0, []
    for _ in range(8):
        pauses.append(peer.download.wakes_at - now)
        now = peer.download.wakes_at
        assert peer.download.step(Tick(), now - 0.001) == []
        assert peer.download.step(Tick(), now) == [Ask((ROOT,))]
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert max(pauses) == LONGEST_TIMEOUT_S
    peer.carry_out(peer.download.step(Answer(ROOT, BLOCKS[ROOT]), now))
    assert peer.download.wakes_at == now + 2.0


def test_absence_is_remembered_until_a_block_comes() -> None:
    peer = _begin()
    assert peer.download.step(Answer(ROOT, None), 0) == []
    assert peer.download.absent
    assert peer.download.step(Tick(), peer.download.wakes_at) == [Ask((ROOT,))]
    peer.carry_out(peer.download.step(Answer(ROOT, BLOCKS[ROOT]), 0))
    assert not peer.download.absent


def test_a_block_from_outside_is_not_kept_even_if_it_is_right() -> None:
    peer = _begin()
    leaf = next(cid for cid in BLOCKS if cid != ROOT)
    assert peer.download.step(Answer(leaf, BLOCKS[leaf]), 0) == []


def test_a_block_that_comes_before_it_is_asked_for_is_kept() -> None:
    """Validators hear it: if it were lost here, its device could make them see an omission."""
    peer = _begin(window=1)
    peer.carry_out(peer.download.step(Answer(ROOT, BLOCKS[ROOT]), 0))
    for cid in reversed([cid for cid in BLOCKS if cid != ROOT]):
        peer.carry_out(peer.download.step(Answer(cid, BLOCKS[cid]), 0))
    assert peer.done
    assert peer.asked == 2


def test_a_block_that_was_absent_is_kept_when_it_comes_unasked() -> None:
    peer = _begin()
    peer.download.step(Answer(ROOT, None), 0)
    assert Keep(ROOT, BLOCKS[ROOT]) in peer.download.step(Answer(ROOT, BLOCKS[ROOT]), 1)
    assert not peer.download.absent


def test_an_object_larger_than_allowed_is_rejected_at_its_manifest() -> None:
    download = Download(ROOT, nothing, max_bytes=len(DATA) - 1)
    download.start(0)
    with pytest.raises(Rejected) as caught:
        download.step(Answer(ROOT, BLOCKS[ROOT]), 0)
    assert caught.value.reason is Reason.OVERSIZE


def test_a_malformed_manifest_is_rejected() -> None:
    block = b"\xa0"
    download = Download(node_cid(block), nothing)
    download.start(0)
    with pytest.raises(Rejected) as caught:
        download.step(Answer(node_cid(block), block), 0)
    assert caught.value.reason is Reason.MALFORMED


def test_single_leaves_are_not_objects() -> None:
    with pytest.raises(Rejected):
        Download(raw_cid(b""), nothing)


@pytest.mark.parametrize("window", [0, 65])
def test_the_window_has_bounds(window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        Download(ROOT, nothing, window=window)
