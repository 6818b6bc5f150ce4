"""An aggregator in one process: real driver, worker and journal; chain and store in memory.

Its proofs are fake: `BelievesEverything` accepts whatever it is shown, and devices are a
script. What is tested is what happens around proofs.
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, TypeVarTuple, cast

import numpy as np
from tests.aggregator.round_kit import DEVICES, OPERATOR, SPEC

from zkpot.batch import Batch
from zkpot.cid import MAX_OBJECT_BYTES, Cid, cid_text, join_object, split_object
from zkpot.election import rank
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import DeviceId
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair, seal
from zkpot.link.blocks import BlockExchange
from zkpot.opening import encode_opening
from zkpot.proof.system import ModelOpening
from zkpot.record import Roster, RosterEntry
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment, Opening, RecordSignature, Submission
from zkpot_aggregator import verifying
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.config import TaskConfig
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.driver import Driver
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.task_data import TaskData
from zkpot_aggregator.task_setup import ensure_task

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Sums: TypeAlias = tuple[Any, Any, tuple[ModelOpening, ...], tuple[int, ...]]

CONFIG = TaskConfig(
    name="rig",
    dataset="in memory",
    proof_system="sumcheck/1",
    rounds=2,
    aggregation="plain:fedavg",
    batch_size=4,
    maximum_devices=len(DEVICES),
    gate_margin=4,
)
ROSTER = Roster.of(RosterEntry(key.public_key, "owner") for key in DEVICES)


def task_data(samples: int = 40) -> TaskData:
    """A pool of random samples for the small shape."""
    generator = np.random.default_rng(1)
    inputs = generator.integers(0, 256, (samples, SPEC.shape.features)).astype(np.uint8)
    labels = generator.integers(0, SPEC.shape.classes, samples).astype(np.uint8)
    return TaskData(SPEC, Batch(inputs, labels), None)


class BelievesEverything(verifying.Verifier):
    """Not a verifier: says that everything holds, and adds openings up."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def run(self, job: Callable[[*Ts], R], *args: *Ts) -> R:
        """Answers in place of the job."""
        self.asked.append(job.__name__)
        answer: Any = (None, "")
        if job.__name__ == "sum_openings":
            _, _, openings, weights = cast("Sums", args)
            theta = sum(w * o.theta for o, w in zip(openings, weights, strict=True))
            answer = ModelOpening(np.asarray(theta), b"sum")
        await asyncio.sleep(0)
        return answer  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Nothing to end."""


class Shelf(BlockExchange):
    """An exchange without a link: what is on the shelf can be fetched."""

    def __init__(self, intake: Intake) -> None:
        self.blocks: dict[Cid, bytes] = {}
        self._intake = intake

    def offer(self, data: bytes) -> Cid:
        """Puts an object on the shelf."""
        root, blocks = split_object(data)
        self.blocks |= blocks
        return root

    async def fetch(
        self,
        cid: Cid,
        peer: DeviceId,
        *,
        deadline_s: float,
        max_bytes: int = MAX_OBJECT_BYTES,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> bytes:
        """See `BlockExchange.fetch`."""

        def get(name: Cid) -> bytes:
            if name not in self.blocks:
                raise Rejected(Reason.NOT_FOUND, cid_text(name))
            self._intake.put(name, self.blocks[name])
            return self.blocks[name]

        await asyncio.sleep(0)
        try:
            return join_object(cid, get)
        except Rejected as rejection:
            if rejection.reason is Reason.NOT_FOUND:
                raise Transient(f"late after {deadline_s} s from {peer.hex()}") from rejection
            raise


class Rig:
    """The aggregator's outside world, which outlives its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = MemoryLedger()
        self.content = MemoryStore()
        self.states: list[str] = []
        self.announced: list[Outgoing] = []

    @property
    def journal_file(self) -> Path:
        return self.folder / "state" / "journal.sqlite"

    def worker(self, journal: Journal) -> GroupWorker:
        """A worker as `service` builds it."""
        handle = ensure_task(
            CONFIG,
            task_data(),
            self.folder / "pool.cbor",
            OPERATOR,
            journal,
            self.content,
            self.ledger,
        )
        intake = Intake(self.folder / "intake", self.content)
        return GroupWorker(
            handle,
            OPERATOR,
            journal,
            Chain(self.ledger, journal),
            self.content,
            intake,
            Shelf(intake),
            BelievesEverything(),
            self.folder / "cache",
        )

    async def live(self, die_in: tuple[str, int] | None = None, *, late: bool = False) -> bool:
        """One process: runs until the task is over (True), or until it dies.

        It dies on entering a state, with that state on disk and nothing of it done; or, if
        `late`, with all of it done, the next state reached, and none of that on disk.
        """
        self.folder.joinpath("state").mkdir(exist_ok=True)
        journal = Journal.open(self.journal_file)
        worker = self.worker(journal)
        tasks: set[asyncio.Task[None]] = set()
        dead, doomed = asyncio.Event(), False
        backup = self.folder / "backup"

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            task = asyncio.get_running_loop().create_task(work)
            tasks.add(task)
            if dead.is_set():
                task.cancel()
            return task

        def on_state(state: at.State) -> None:
            nonlocal doomed
            name, number = type(state).__name__.lower(), state.start.round
            self.states.append(f"{name} {number}")
            if doomed:
                dead.set()
            elif (name, number) == die_in:
                if late:
                    doomed = True
                    shutil.copytree(self.folder / "state", backup)
                else:
                    dead.set()

        driver = Driver(worker, ROSTER, spawn, on_state)
        script = spawn(self._devices(driver, worker, dead))
        await driver.start()
        self.announced = driver.announcement()
        over = asyncio.ensure_future(driver.finished.wait())
        death = asyncio.ensure_future(dead.wait())
        try:
            async with asyncio.timeout(120):
                watched: set[asyncio.Future[Any]] = {over, death}
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            finished = driver.finished.is_set()
            for task in (*tasks, over, death, script):
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            worker.chain.stop()
            journal.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        if backup.exists():
            shutil.rmtree(self.folder / "state")
            shutil.move(backup, self.folder / "state")
        return finished

    async def _devices(self, driver: Driver, worker: GroupWorker, dead: asyncio.Event) -> None:
        """Four honest devices, which say everything again and again, as after reconnections."""
        while not dead.is_set():
            await asyncio.sleep(0.005)
            for key in DEVICES:
                if not dead.is_set():
                    for event in self._says(key, driver.state, worker):
                        driver.apply(event)

    def _says(self, key: KeyPair, state: at.State | None, worker: GroupWorker) -> list[on.Event]:
        shelf = worker.exchange
        assert isinstance(shelf, Shelf)
        if state is None:
            return []
        start = state.start
        where = (start.task, start.round, start.parent)
        text = f"{key.id.hex()} {start.round}".encode()
        if isinstance(state, at.Committing):
            proof = shelf.offer(b"wellformed " + text)
            return [on.CommitmentReceived(sign(Commitment(*where, text, proof), key))]
        if isinstance(state, at.Proving):
            message = Submission(*where, 4, shelf.offer(b"proof " + text))
            return [on.SubmissionReceived(sign(message, key))]
        if isinstance(state, at.Aggregating):
            return [on.OpeningReceived(self._opening(key, where, shelf))]
        if isinstance(state, at.Recording) and key.id == state.order[state.rank]:
            record = split_object(encode(state.record), state.record.references)[0]
            message_ = RecordSignature(start.task, start.round, record)
            return [on.RecordAnswered(sign(message_, key))]
        return []

    def _opening(self, key: KeyPair, where: tuple[Any, Any, Any], shelf: Shelf) -> bytes:
        """Sealed once: a second seal of the same is another message."""
        path = self.folder / f"opening-{key.id.hex()}-{where[1]}"
        if not path.exists():
            theta = np.zeros(SPEC.shape.parameters, np.int64)
            opening = encode_opening(ModelOpening(theta, b"fake"))
            path.write_bytes(seal(OPERATOR.box_key, opening))
        return sign(Opening(*where, shelf.offer(path.read_bytes())), key)


def leader_of(beacon: Any) -> DeviceId:
    """Who leads when all counts are equal."""
    return rank(beacon, {key.id: 4 for key in DEVICES})[0]
