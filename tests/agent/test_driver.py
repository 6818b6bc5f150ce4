"""The device's driver: on disk first, then the effect, and the same after any crash."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.agent.announcements import announcement, cid
from tests.agent.devices import FakeWorker, fake_worker, spawn
from tests.asynchronous import in_loop
from tests.protocol.rounds import key

from zkpot.cid import Cid, cid_text, split_object
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import Digest, Round
from zkpot.journal import Journal, Outgoing
from zkpot.proof.system import Obstacle, ProvingFailed
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope
from zkpot.wire.messages import Message, Phase, Receipt
from zkpot_agent import driver as driver_module
from zkpot_agent.blocks import BLOCK_PREFIX
from zkpot_agent.driver import INCIDENT, Driver
from zkpot_agent.inference import MODEL_FILE
from zkpot_agent.notes import RECEIPT
from zkpot_agent.round import events as on
from zkpot_agent.round import states as at
from zkpot_agent.round_secrets import opening_key

ROUND = Round(1)
FILE = "journal.sqlite"


async def settle() -> None:
    """Lets everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def _content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


class Power:
    """A device that can be switched off at any moment: what it had in memory is gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.switch_on()

    def switch_on(self) -> None:
        self.journal = Journal.open(self._folder / FILE)
        self.worker: FakeWorker = fake_worker(self._folder, self.journal)
        self.driver = Driver(self.worker, spawn)

    async def cut(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await settle()
        self.journal.close()

    async def cycle(self) -> None:
        await self.cut()
        self.switch_on()
        self.driver.resume()
        await settle()

    async def announce(self, phase: Phase, number: int = 1, variant: str = "") -> None:
        self.driver.apply(on.Announced(announcement(number, phase, variant)))
        await settle()

    async def finish(self, event: on.Event) -> None:
        """Ends the work under way."""
        self.worker.ordered[-1].outcome.set_result(event)
        await settle()

    @property
    def work(self) -> list[str]:
        return [ordered.what for ordered in self.worker.ordered]

    @property
    def outbox(self) -> list[Message]:
        keys = {key(0).id: key(0).public_key}
        waiting = self.journal.outgoing()
        return [open_envelope(each.message.payload, keys).message for each in waiting]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


TRAINED = on.Trained(ROUND, b"commitment", None)
PROVED = on.Proved(ROUND, 5, cid("proof"))
SEALED = on.OpeningSealed(ROUND, cid("opening"))


async def _advance(device: Power, last: type) -> None:
    """Brings a device forward to a state of round 1."""
    for _ in range(6):
        match device.driver.state:
            case state if type(state) is last:
                return
            case at.Idle():
                await device.announce(Phase.COMMIT)
            case at.Training():
                await device.finish(TRAINED)
            case at.Committed():
                await device.announce(Phase.PROVE)
            case at.Proving():
                await device.finish(PROVED)
            case at.Submitted():
                await device.announce(Phase.AGGREGATE)
            case at.Opening():
                await device.finish(SEALED)
    assert type(device.driver.state) is last


@in_loop
async def test_a_whole_round(folder: Path) -> None:
    device = Power(folder)
    await _advance(device, at.Opened)
    assert device.work == ["train", "prove", "contribute"]
    kinds = [type(message).__name__ for message in device.outbox]
    assert kinds == ["Commitment", "Submission", "Opening"]
    device.driver.apply(on.RecordProposed(ROUND, cid("r")))
    await settle()
    await device.finish(on.RecordChecked(ROUND, cid("r"), None, ""))
    assert type(device.outbox[-1]).__name__ == "RecordSignature"
    await device.announce(Phase.CLOSED)
    assert device.driver.state == at.Idle(ROUND)
    assert (folder / MODEL_FILE).read_bytes() == b"model of " + cid("record 1")


@in_loop
@pytest.mark.parametrize(
    "last",
    [at.Idle, at.Training, at.Committed, at.Proving, at.Submitted, at.Opening, at.Opened],
)
async def test_a_power_cut_in_any_state_loses_nothing(folder: Path, last: type) -> None:
    device = Power(folder)
    await _advance(device, last)
    state, sent = device.driver.state, device.outbox
    under_way = device.work[-1:] if last in (at.Training, at.Proving, at.Opening) else []
    await device.cycle()
    assert device.driver.state == state
    assert device.work == under_way
    assert {encode(message) for message in device.outbox} == {encode(m) for m in sent}
    await _advance(device, at.Opened)
    assert len({encode(message) for message in device.outbox}) == 3


class Crash(BaseException):
    """The power is cut."""


class DyingJournal(Journal):
    """Cuts the power at a chosen transition: before it, or after it is on disk."""

    when = ""

    def transition(
        self, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        if DyingJournal.when == "before":
            raise Crash
        super().transition(puts, outgoing)
        if DyingJournal.when == "after":
            raise Crash


@in_loop
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("last", "event"),
    [
        (at.Idle, on.Announced(announcement(1, Phase.COMMIT))),
        (at.Training, TRAINED),
        (at.Committed, on.Announced(announcement(1, Phase.PROVE))),
        (at.Proving, PROVED),
        (at.Submitted, on.Announced(announcement(1, Phase.AGGREGATE))),
        (at.Opening, SEALED),
        (at.Opened, on.Announced(announcement(1, Phase.CLOSED))),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
async def test_a_power_cut_inside_a_transition(
    folder: Path, monkeypatch: pytest.MonkeyPatch, when: str, last: type, event: on.Event
) -> None:
    """Before the disk has it nothing has happened; after it, everything goes on from there."""
    device = Power(folder)
    await _advance(device, last)
    before, sent = device.driver.state, device.outbox
    await device.cut()
    device.journal = DyingJournal.open(folder / FILE)
    device.worker = fake_worker(folder, device.journal)
    device.driver = Driver(device.worker, spawn)
    monkeypatch.setattr(DyingJournal, "when", when)
    with pytest.raises(Crash):
        device.driver.apply(event)
    assert device.work == [], "no effect before the transition is on disk"
    monkeypatch.setattr(DyingJournal, "when", "")
    await device.cycle()
    assert (device.driver.state == before) == (when == "before")
    device.driver.apply(event)
    await settle()
    assert device.driver.state != before
    names = [encode(message) for message in device.outbox]
    assert len(set(names)) - len(sent) <= 1
    kinds = [type(message) for message in {encode(m): m for m in device.outbox}.values()]
    assert len(kinds) == len(set(kinds)), "one message of a kind, however often it is sent"


@in_loop
async def test_the_model_comes_even_if_the_power_is_cut_before_it(folder: Path) -> None:
    device = Power(folder)
    await _advance(device, at.Opened)
    device.driver.apply(on.Announced(announcement(1, Phase.CLOSED)))
    await device.cycle()
    assert not (folder / MODEL_FILE).exists()
    await device.announce(Phase.CLOSED)
    assert (folder / MODEL_FILE).exists()


@in_loop
async def test_secrets_are_gone_after_the_round(folder: Path) -> None:
    device = Power(folder)
    await _advance(device, at.Opened)
    assert device.journal.get(opening_key(1)) == b"secret opening"
    device.worker.blocks.offer(b"a proof")
    await device.announce(Phase.CLOSED)
    assert device.journal.items("secret/") == []
    assert device.journal.items("block/") == []
    assert b"secret opening" not in _content(folder)


@in_loop
async def test_a_device_that_sits_rounds_out_keeps_the_newest_model_alone(folder: Path) -> None:
    device = Power(folder)
    for number in (1, 2, 3):
        for what in (b"record", b"model"):
            device.worker.blocks.offer(what + b" of " + cid(f"record {number}"))
        device.driver.apply(on.Announced(announcement(number, Phase.CLOSED)))
        await settle()
        assert device.driver.state == at.Idle(Round(number))
        blocks = split_object(b"model of " + cid(f"record {number}"))[1]
        kept = {key for key, _ in device.journal.items(BLOCK_PREFIX)}
        assert kept == {BLOCK_PREFIX + cid_text(name) for name in blocks}


@in_loop
async def test_a_new_round_ends_the_work_of_the_old_one(folder: Path) -> None:
    device = Power(folder)
    await device.announce(Phase.COMMIT)
    (old,) = device.worker.ordered
    await device.announce(Phase.COMMIT, 2)
    assert old.outcome.cancelled()
    assert device.work == ["train", "train"]
    await device.finish(on.Trained(Round(2), b"second", None))
    assert device.journal.get(opening_key(1)) is None
    assert [message.round for message in device.outbox] == [2]  # type: ignore[union-attr]


@in_loop
async def test_a_second_batch_neither_restarts_nor_adds_a_proof(folder: Path) -> None:
    device = Power(folder)
    await _advance(device, at.Proving)
    for _ in range(2):
        await device.announce(Phase.PROVE, variant=" easier")
    assert device.work == ["train", "prove"]
    assert len(device.journal.events(INCIDENT)) == 1
    await device.finish(PROVED)
    await device.announce(Phase.PROVE, variant=" easier")
    assert device.work == ["train", "prove"]


@in_loop
async def test_what_may_pass_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "RETRY_SECONDS", 0)
    device = Power(folder)
    await device.announce(Phase.COMMIT)
    device.worker.ordered[-1].outcome.set_exception(Transient("no broker"))
    await settle()
    assert device.work == ["train", "train"]
    assert type(device.driver.state) is at.Training


@in_loop
@pytest.mark.parametrize(
    "error",
    [
        Rejected(Reason.SEAL_MISMATCH, "our commitment is missing"),
        ProvingFailed(Obstacle.OUT_OF_MEMORY, "too small"),
    ],
)
async def test_what_cannot_go_on_gives_up_and_says_so(folder: Path, error: Exception) -> None:
    device = Power(folder)
    await _advance(device, at.Proving)
    device.worker.ordered[-1].outcome.set_exception(error)
    await settle()
    assert device.driver.state == at.Idle(ROUND)
    assert device.journal.get(opening_key(1)) is None
    (incident,) = device.journal.events(INCIDENT)
    assert str(error) in incident.key


@in_loop
async def test_receipts_are_kept_once(folder: Path) -> None:
    device = Power(folder)
    await _advance(device, at.Committed)
    receipt = Receipt(announcement(1, Phase.COMMIT).task, ROUND, Digest(bytes(32)), None, "")
    for _ in range(2):
        device.driver.apply(on.Receipted(receipt))
    (event,) = device.journal.events(RECEIPT)
    assert (event.key, event.value) == (bytes(32).hex(), encode(receipt))


@in_loop
async def test_a_refusal_does_not_hide_that_the_same_was_taken_later(folder: Path) -> None:
    device = Power(folder)
    await _advance(device, at.Committed)
    task, name = announcement(1, Phase.COMMIT).task, Digest(bytes(32))
    refused = Receipt(task, ROUND, name, Reason.OBJECT_UNAVAILABLE, "")
    taken = Receipt(task, ROUND, name, None, "")
    for receipt in (refused, taken, refused):
        device.driver.apply(on.Receipted(receipt))
    kept = {event.key: event.value for event in device.journal.events(RECEIPT)}
    assert list(kept.values()) == [encode(refused), encode(taken)]
    assert kept[name.hex()] == encode(taken)


@in_loop
async def test_the_unanswered_message_is_the_states_own(folder: Path) -> None:
    device = Power(folder)
    for last, count in ((at.Training, 0), (at.Committed, 1), (at.Proving, 0), (at.Submitted, 1)):
        await _advance(device, last)
        again = device.driver.unanswered()
        assert len(again) == count
        waiting = [pending.message.payload for pending in device.journal.outgoing()]
        assert all(message.payload in waiting for message in again)


@in_loop
async def test_states_are_told_to_whoever_wants_to_know(folder: Path) -> None:
    told: list[at.State] = []
    journal = Journal.open(folder / FILE)
    driver = Driver(fake_worker(folder, journal), spawn, told.append)
    driver.apply(on.Announced(announcement(1, Phase.COMMIT)))
    driver.apply(on.Announced(announcement(1, Phase.COMMIT)))
    assert [type(state) for state in told] == [at.Training]


@in_loop
async def test_a_model_that_cannot_be_fetched_is_not_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_self: FakeWorker, _record: object) -> bytes:
        raise Transient("later")

    monkeypatch.setattr(FakeWorker, "model_after", fails)
    device = Power(folder)
    await device.announce(Phase.CLOSED)
    assert device.driver.state == at.Idle(ROUND)
    assert not (folder / MODEL_FILE).exists()


@in_loop
async def test_a_model_that_comes_late_does_not_replace_a_newer_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = FakeWorker.model_after
    late = asyncio.Event()

    async def fetch(self: FakeWorker, record: Cid) -> bytes:
        if record == cid("record 1"):
            await late.wait()
        return await fetched(self, record)

    monkeypatch.setattr(FakeWorker, "model_after", fetch)
    device = Power(folder)
    await device.announce(Phase.CLOSED, 1)
    await device.announce(Phase.CLOSED, 2)
    late.set()
    await settle()
    assert (folder / MODEL_FILE).read_bytes() == b"model of " + cid("record 2")
