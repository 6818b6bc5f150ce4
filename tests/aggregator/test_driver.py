"""The driver on one journal: to the end, and from every state in which it can die."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pytest
from tests.aggregator.rig import ROSTER, Rig, Shelf, leader_of
from tests.aggregator.round_kit import DEVICES

from zkpot.cid import Cid, node_cid, object_cid_from_digest, split_object
from zkpot.errors import Reason
from zkpot.ids import Round
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair
from zkpot.record import Record, Roster, RosterEntry, SignedRecord, decode_object
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.driver import REJECTION, STATE_KEY, STRIKES_KEY, Driver
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.ledger.calls import device_word
from zkpot_aggregator.ledger.views import Phase
from zkpot_aggregator.report import Reporter
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.strikes import Count, Strikes

STATES = (
    "opening",
    "committing",
    "sealing",
    "drawing",
    "revealing",
    "proving",
    "aggregating",
    "summing",
    "recording",
    "closing",
    "ended",
)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def check_task(rig: Rig) -> None:
    """Two closed rounds, linked, every effect on chain once, nobody rejected."""
    task = next(iter(rig.ledger.world.tasks))
    parent: bytes = task
    for number in (1, 2):
        view = rig.ledger.round(task, Round(number))
        assert view.phase is Phase.CLOSED
        assert view.parent == parent
        assert view.leader == device_word(leader_of(view.beacon))
        assert (view.correct, view.total, view.count) == (4, 4, len(DEVICES))
        signed_cid = object_cid_from_digest(view.record)
        assert signed_cid in rig.content.pins()
        signed = decode_object(SignedRecord, get_object(rig.content, signed_cid))
        record = decode_object(Record, get_object(rig.content, signed.record))
        assert (record.round, record.parent) == (number, parent)
        parent = view.record
    events = Counter(type(event).__name__ for event in rig.ledger.events(task))
    assert events == {
        "TaskCreated": 1,
        "RoundOpened": 2,
        "CommitmentsSealed": 2,
        "BeaconDrawn": 2,
        "RoundClosed": 2,
    }


def test_a_task_runs_to_its_end_in_order(rig: Rig) -> None:
    assert asyncio.run(rig.live())
    assert rig.states == [f"{state} {number}" for number in (1, 2) for state in STATES]
    check_task(rig)


@pytest.mark.parametrize("late", [False, True], ids=["before its effects", "after its effects"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("state", STATES)
def test_a_driver_that_dies_goes_on(rig: Rig, state: str, number: int, late: bool) -> None:
    if late and (state, number) == ("ended", 2):
        return  # nothing follows
    assert asyncio.run(rig.live(die_in=(state, number), late=late)) is False
    assert asyncio.run(rig.live()) is True
    check_task(rig)


@pytest.mark.parametrize("state", ["committing", "drawing", "proving", "aggregating"])
def test_what_a_phase_announces_is_announced_again_after_a_restart(rig: Rig, state: str) -> None:
    """An embedded broker starts empty, and a device may have been away the first time."""
    asyncio.run(rig.live(die_in=(state, 1)))
    asyncio.run(rig.live(die_in=(state, 2)))
    (announced,) = rig.announced
    assert announced.retain


def test_a_driver_that_dies_in_every_state(rig: Rig) -> None:
    for number in (1, 2):
        for state in STATES:
            asyncio.run(rig.live(die_in=(state, number)))
    assert asyncio.run(rig.live()) is True
    check_task(rig)


def test_a_finished_task_stays_finished(rig: Rig) -> None:
    asyncio.run(rig.live())
    before = dict(rig.content.blocks)
    assert asyncio.run(rig.live()) is True
    assert rig.content.blocks == before
    check_task(rig)


class Latecomers(Rig):
    """Nobody commits to the first round in time, and everybody right after it has failed."""

    def _says(self, key: KeyPair, state: at.State | None, worker: GroupWorker) -> list[on.Event]:
        said = super()._says(key, state, worker)
        first = isinstance(state, at.Committing) and state.start.round == 1
        return [on.DeadlinePassed("commit"), *said] if first else said


def test_latecomers_do_not_hold_up_the_failure_of_a_round(tmp_path: Path) -> None:
    rig = Latecomers(tmp_path)
    assert asyncio.run(rig.live()) is True
    task = next(iter(rig.ledger.world.tasks))
    phases = [rig.ledger.round(task, Round(number)).phase for number in (1, 2)]
    assert phases == [Phase.FAILED, Phase.CLOSED]


def test_honest_repetition_is_not_reported_as_rejected(rig: Rig) -> None:
    asyncio.run(rig.live())
    with Journal.open(rig.journal_file) as journal:
        assert journal.events(REJECTION) == []
        task = next(iter(rig.ledger.world.tasks))
        reports = Reporter(task, rig.ledger, rig.content, journal, None).rounds()
    assert [report.rejected for report in reports] == [[], []]
    assert [len(report.accepted) for report in reports] == [4, 4]
    assert all(report.accuracy_after is None for report in reports)
    assert set(reports[0].seconds) == set(STATES)


class Noted(Journal):
    """Remembers what was written."""

    written: ClassVar[list[str]] = []

    def transition(
        self, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        self.written.extend(puts)
        super().transition(puts, outgoing)


Use: TypeAlias = Callable[[Driver, Journal, list[asyncio.Task[None]]], None]


async def with_driver(rig: Rig, use: Use) -> None:
    """A driver that has started, and the tasks it began, of which none has run yet."""
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(work))
        return tasks[-1]

    rig.journal_file.parent.mkdir(exist_ok=True)
    with Noted.open(rig.journal_file) as journal:
        worker = rig.worker(journal)
        driver = Driver(worker, ROSTER, spawn, lambda _state: None)
        await driver.start()
        use(driver, journal, tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        worker.chain.stop()


def refused(number: int) -> on.Event:
    """What anyone enrolled can send."""
    return on.SubmissionReceived(b"garbage %d" % number)


def test_what_is_refused_does_not_have_the_state_written_again(rig: Rig) -> None:
    """In a large round it is megabytes."""

    def flood(driver: Driver, journal: Journal, _tasks: list[asyncio.Task[None]]) -> None:
        assert STATE_KEY in Noted.written
        Noted.written.clear()
        for number in range(10):
            driver.apply(refused(number))
        assert not Noted.written
        assert len(journal.events(REJECTION)) == 10

    asyncio.run(with_driver(rig, flood))


def test_what_is_refused_after_a_round_does_not_end_it_again(rig: Rig) -> None:
    """Judged again, the next after the worst would be the worst."""
    counts = sorted((key.id, number) for key, number in zip(DEVICES, (9, 6, 3, 0), strict=True))
    strikes = encode(Strikes(tuple(Count(*each) for each in counts)))

    def flood(driver: Driver, journal: Journal, tasks: list[asyncio.Task[None]]) -> None:
        for event in (on.OpenedOnChain(), on.DeadlinePassed("commit"), on.FailedOnChain()):
            driver.apply(event)
        assert isinstance(driver.state, at.Ended)
        begun = len(tasks)
        journal.transition({STRIKES_KEY: strikes})
        for number in range(10):
            driver.apply(refused(number))
        assert len(tasks) == begun
        assert len(journal.events(REJECTION)) == 10
        assert journal.get(STRIKES_KEY) == strikes

    asyncio.run(with_driver(rig, flood))


# --- what devices offer ---------------------------------------------------------------------


def check_offer(rig: Rig, wellformed: Cid, blocks: dict[Cid, bytes]) -> on.Event:
    """A commitment that names an object, checked with these blocks on the shelf."""

    async def check() -> on.Event:
        with Journal.open(rig.folder / "journal.sqlite") as journal:
            worker = rig.worker(journal)
            assert isinstance(worker.exchange, Shelf)
            worker.exchange.blocks |= blocks
            roster = Roster.of(RosterEntry(key.public_key, "") for key in DEVICES)
            handle = worker.handle
            terms = RoundTerms(
                handle.id, handle.task, Round(1), type(roster.root)(bytes(32)), roster
            )
            message = Commitment(handle.id, Round(1), terms.parent, b"c", wellformed)
            try:
                return await worker.check_commitment(terms, sign(message, DEVICES[0]))
            finally:
                worker.chain.stop()

    return asyncio.run(check())


def test_what_is_judged_is_kept_as_evidence(rig: Rig) -> None:
    cid, blocks = split_object(b"a proof")
    event = check_offer(rig, cid, blocks)
    assert isinstance(event, on.CommitmentChecked)
    assert event.reason is None
    assert get_object(rig.content, cid) == b"a proof"


def test_an_object_with_a_link_of_its_own_is_not_taken(rig: Rig) -> None:
    """It could not be kept under its name, and the pin of the record would break on it."""
    plain = split_object(b"elsewhere")[0]
    cid, blocks = split_object(b"a proof", [plain])
    event = check_offer(rig, cid, blocks)
    assert isinstance(event, on.CommitmentChecked)
    assert event.reason is Reason.OBJECT_UNAVAILABLE
    assert not rig.content.has(cid)


def test_a_name_that_is_no_object_is_not_taken(rig: Rig) -> None:
    block = b"\xa0"
    for cid, blocks in ((node_cid(block), {node_cid(block): block}), (Cid(bytes(36)), {})):
        event = check_offer(rig, cid, blocks)
        assert isinstance(event, on.CommitmentChecked)
        assert event.reason is Reason.OBJECT_UNAVAILABLE
