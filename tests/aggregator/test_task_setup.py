"""Making the task: killed between any two steps it goes on with the same task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.aggregator.rig import CONFIG, task_data
from tests.aggregator.round_kit import OPERATOR

from zkpot.cid import Cid
from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.journal import Journal, Outgoing
from zkpot_aggregator.config import TaskConfig
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.ledger.base import Receipt
from zkpot_aggregator.ledger.calls import Address, Call
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.ledger.views import TaskView
from zkpot_aggregator.task_setup import TaskHandle, ensure_task


class Killed(BaseException):
    """What no code expects."""


@dataclass
class Fuse:
    """Burns through after so many steps that change something."""

    left: int | None = None

    def step(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


class Store(MemoryStore):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def put(self, cid: Cid, block: bytes) -> None:
        self._fuse.step()
        super().put(cid, block)
        self._fuse.step()

    def pin(self, root: Cid) -> None:
        self._fuse.step()
        super().pin(root)


class Chain(MemoryLedger):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def submit(self, call: Call) -> Receipt:
        self._fuse.step()
        receipt = super().submit(call)
        self._fuse.step()
        return receipt


class Book:
    """A journal that dies before or after it writes."""

    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        self._journal, self._fuse = journal, fuse
        self.get, self.note = journal.get, journal.note

    def transition(
        self, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        self._fuse.step()
        self._journal.transition(puts, outgoing)
        self._fuse.step()


class Place:
    """Everything that outlives the process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fuse = folder, Fuse()
        self.store, self.ledger = Store(self.fuse), Chain(self.fuse)

    def ensure(self, config: TaskConfig = CONFIG, samples: int = 40) -> TaskHandle:
        with Journal.open(self.folder / "journal.sqlite") as journal:
            return ensure_task(
                config,
                task_data(samples),
                self.folder / "pool.cbor",
                OPERATOR,
                Book(journal, self.fuse),  # type: ignore[arg-type]
                self.store,
                self.ledger,
            )

    def tasks(self) -> list[TaskView]:
        return list(self.ledger.world.tasks.values())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_task_is_made_once(place: Place) -> None:
    first = place.ensure()
    again = place.ensure()
    assert again == first
    assert list(place.ledger.world.tasks) == [first.id]
    assert first.task.pool.root == first.publisher.root
    assert place.store.has(first.task.genesis)
    assert len(place.store.pins()) == 1


def test_killed_between_any_two_steps_it_goes_on(place: Place) -> None:
    pool = place.folder / "pool.cbor"
    handle, kills, kept = None, 0, b""
    while handle is None:
        place.fuse.left = kills
        try:
            handle = place.ensure()
        except Killed:
            kills += 1
            kept = pool.read_bytes()
    place.fuse.left = None
    assert kills >= 7
    assert pool.read_bytes() == kept
    assert list(place.ledger.world.tasks) == [handle.id]
    assert place.ensure() == handle


@pytest.mark.parametrize("step", range(9))
def test_killed_once_it_makes_one_task(place: Place, step: int) -> None:
    place.fuse.left = step
    with pytest.raises(Killed):
        place.ensure()
    place.fuse.left = None
    handle = place.ensure()
    assert list(place.ledger.world.tasks) == [handle.id]


def test_a_changed_configuration_is_refused_by_field(place: Place) -> None:
    handle = place.ensure()
    changed = replace(CONFIG, rounds=3, name="other", prove_s=601)
    with pytest.raises(Fatal) as caught:
        place.ensure(changed)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "differs in: name, rounds, deadlines." in str(caught.value)
    assert place.ensure() == handle


def test_a_pool_that_was_swapped_is_another_task(place: Place) -> None:
    place.ensure()
    (place.folder / "pool.cbor").unlink()
    with pytest.raises(Fatal, match="cannot read the pool") as caught:
        place.ensure()
    assert caught.value.exit_code is ExitCode.STATE
    other = Place(place.folder / "other")
    other.folder.mkdir()
    other.ensure()
    (other.folder / "pool.cbor").rename(place.folder / "pool.cbor")
    with pytest.raises(Fatal, match="differs in: pool"):
        place.ensure()


@pytest.mark.parametrize(
    "changes", [{"weighting": "by-wish"}, {"minimum_devices": 99}, {"batch_size": 41}]
)
def test_a_task_that_cannot_be_is_refused_before_anything_is_on_chain(
    place: Place, changes: dict[str, object]
) -> None:
    with pytest.raises(Fatal) as caught:
        place.ensure(replace(CONFIG, **changes))  # type: ignore[arg-type]
    assert caught.value.exit_code is ExitCode.CONFIG
    assert place.tasks() == []


def test_a_ledger_that_is_away_is_for_the_caller_to_wait_for(place: Place) -> None:
    class Away(Chain):
        def submit(self, call: Call) -> Receipt:
            raise Transient("away")

    back = place.ledger
    place.ledger = Away(place.fuse)
    with pytest.raises(Transient):
        place.ensure()
    place.ledger = back
    assert list(place.ledger.world.tasks) == []
    handle = place.ensure()
    assert list(place.ledger.world.tasks) == [handle.id]


def test_a_stranger_who_was_first_costs_the_name_and_the_way_out_is_said(place: Place) -> None:
    """Whoever sees the transaction wait can send the same one with a higher fee."""

    class Overtaken(Chain):
        def submit(self, call: Call) -> Receipt:
            MemoryLedger(Address(bytes(range(20))), self.world).submit(call)
            return super().submit(call)

    place.ledger = Overtaken(place.fuse)
    with pytest.raises(Fatal, match="new state_dir") as caught:
        place.ensure()
    assert caught.value.exit_code is ExitCode.LEDGER
    elsewhere = Place(place.folder / "new")
    elsewhere.folder.mkdir()
    elsewhere.ledger.world = place.ledger.world
    assert elsewhere.ensure().id in place.ledger.world.tasks
