"""What is kept of old rounds: all that is promised or needed, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.content.history import GENESIS, History, long_history, whole

from zkpot.cid import Cid, raw_cid
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import Round
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.content.mirror import MirroredStore
from zkpot_aggregator.content.retention import PrunedStore
from zkpot_aggregator.ledger.calls import Address, Attest, RejectRound
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.ledger.views import Phase, RoundClosed, RoundOpened

VALIDATOR = Address(b"v" * 20)


class Daemon(MemoryStore):
    """What an IPFS daemon is to a mirror, one that collects at once; `away`: out of reach."""

    away = False

    def pin_complete(self, root: Cid) -> None:
        self.pin(root)

    def unpin(self, root: Cid) -> None:
        if self.away:
            raise Transient("away")
        super().unpin(root)
        self.collect_garbage()


@pytest.fixture(params=["memory", "directory", "mirror"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PrunedStore:
    if request.param == "memory":
        return MemoryStore()
    directory = DirectoryStore(tmp_path / "content")
    return directory if request.param == "directory" else MirroredStore(directory, Daemon())


def kept(history: History) -> list[int]:
    """The rounds whose records are whole; those of the others must be gone altogether."""
    numbers = []
    for number, root in history.number_to_root.items():
        if whole(history.store, root):
            numbers.append(number)
        else:
            with pytest.raises(Rejected) as caught:
                get_object(history.store, root)
            assert caught.value.reason is Reason.NOT_FOUND
            assert root not in history.store.pins()
    return numbers


def test_the_last_rounds_are_whole_and_the_others_gone(store: PrunedStore) -> None:
    history = History(store)
    for _ in range(6):
        history.round()
    assert history.prune(keep_rounds=4) == 2
    assert kept(history) == [3, 4, 5, 6]
    assert get_object(store, history.manifest) == b"manifest"
    assert history.prune(keep_rounds=4) == 0
    history.round()
    assert history.prune(keep_rounds=2) == 3
    assert kept(history) == [6, 7]
    assert get_object(store, history.model) == b"model after 7"


def test_the_genesis_stays_with_the_manifest(store: PrunedStore) -> None:
    history = History(store)
    genesis = history.model
    for _ in range(3):
        history.round()
    history.prune(keep_rounds=1)
    assert get_object(store, genesis) == GENESIS


def test_the_head_outlives_any_number_of_failed_rounds(store: PrunedStore) -> None:
    history = History(store)
    history.round()
    history.round()
    for _ in range(5):
        history.failed_round()
    assert history.prune(keep_rounds=1) == 1
    assert kept(history) == [2]
    assert get_object(store, history.model) == b"model after 2"


def test_what_failed_rounds_left_goes(store: PrunedStore) -> None:
    history = History(store)
    history.failed_round()
    leftover = put_object(store, b"commitments of failed 1")
    history.round()
    history.prune(keep_rounds=1)
    assert not store.has(leftover)


def test_other_pins_are_left_alone(store: PrunedStore) -> None:
    other = put_object(store, b"of another task")
    store.pin(other)
    history = History(store)
    for _ in range(3):
        history.round()
    history.prune(keep_rounds=1)
    assert get_object(store, other) == b"of another task"


def test_the_chain_of_records_stays_attestable() -> None:
    """Each round still names its parent on the ledger, and the last one can be voted on."""
    history = History(MemoryStore(), validators=(VALIDATOR,))
    for _ in range(4):
        history.round()
        attest(history)
    history.round()
    history.prune(keep_rounds=1)
    assert kept(history) == [4, 5]
    events = history.ledger.events(history.task)
    closed = [event.record for event in events if isinstance(event, RoundClosed)]
    opened = [event.parent for event in events if isinstance(event, RoundOpened)]
    assert opened == [history.task, *closed[:-1]]
    attest(history)
    assert history.ledger.round(history.task, Round(5)).phase is Phase.FINAL


def test_what_validators_may_return_to_stays() -> None:
    history = History(MemoryStore(), validators=(VALIDATOR,))
    history.round()
    attest(history)
    for _ in range(3):
        history.round()
    history.prune(keep_rounds=1)
    assert kept(history) == [1, 2, 3, 4], "only the first is final"
    for number in (4, 3, 2):
        record = history.ledger.task(history.task).head
        validator(history).submit(RejectRound(history.task, Round(number), record))
        assert whole(history.store, history.number_to_root[number - 1])
    assert history.ledger.task(history.task).head_round == 1
    history.round()
    attest(history)
    history.prune(keep_rounds=1)
    assert kept(history) == [5]


def test_a_daemon_that_is_away_delays_the_pruning(tmp_path: Path) -> None:
    daemon = Daemon()
    history = History(MirroredStore(DirectoryStore(tmp_path), daemon))
    for _ in range(3):
        history.round()
    daemon.away = True
    assert history.prune(keep_rounds=1) == 0
    assert kept(history) == [1, 2, 3]
    daemon.away = False
    assert history.prune(keep_rounds=1) == 2
    assert kept(history) == [3]
    assert daemon.pins() == {history.manifest, history.number_to_root[3]}


def test_cut_off_between_daemon_and_directory_it_is_unpinned_again(tmp_path: Path) -> None:
    daemon = Daemon()
    history = History(MirroredStore(DirectoryStore(tmp_path), daemon))
    for _ in range(2):
        history.round()
    daemon.unpin(history.number_to_root[1])
    assert history.prune(keep_rounds=1) == 1
    assert daemon.pins() == {history.manifest, history.number_to_root[2]}


def test_what_is_put_while_it_collects_stays(tmp_path: Path) -> None:
    """The store is asked for a block in the middle of the collection: then another one comes."""

    class Busy(DirectoryStore):
        def get(self, cid: Cid) -> bytes:
            self.put(raw_cid(b"late"), b"late")
            return super().get(cid)

    history = History(DirectoryStore(tmp_path))
    history.round()
    store = Busy(tmp_path)
    store.put(raw_cid(b"early"), b"early")
    assert store.collect_garbage() == 1
    assert DirectoryStore(tmp_path).get(raw_cid(b"late")) == b"late"
    assert DirectoryStore(tmp_path).collect_garbage() == 1


@pytest.mark.parametrize("deletions", [0, 1, 4, 8, 9, 14, 30])
def test_a_crash_loses_nothing_that_is_kept(tmp_path: Path, deletions: int) -> None:
    """Eight records are unpinned, then their blocks deleted; the process dies somewhere in it."""
    arguments = [str(tmp_path), "2", str(deletions)]
    script = [sys.executable, "-m", "tests.content.history", *arguments]
    root, path = Path(__file__).parents[2], ":".join(sys.path)
    assert subprocess.run(script, check=False, cwd=root, env={"PYTHONPATH": path}).returncode == 9
    store = DirectoryStore(tmp_path)
    expected = long_history(tmp_path / "other")
    newest = expected.number_to_root[11]
    assert whole(store, newest)
    assert whole(store, expected.manifest)
    for root_cid in store.pins():
        assert whole(store, root_cid)
    expected.store = store
    expected.prune(keep_rounds=2)
    assert kept(expected) == [11]
    assert store.collect_garbage() == 0


def attest(history: History) -> None:
    view = history.ledger.task(history.task)
    validator(history).submit(Attest(history.task, view.head_round, view.head))


def validator(history: History) -> MemoryLedger:
    return MemoryLedger(VALIDATOR, history.ledger.world)
