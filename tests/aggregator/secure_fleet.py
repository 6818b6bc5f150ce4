"""A whole task in one process: real aggregator, real devices, real proofs, memory between them.

Journals are on disk, and every message passes a broker that keeps a copy. Chain and content
store are in memory. What runs in processes of its own elsewhere runs here in this one; models
are random instead of trained. Aggregator and devices can be killed and started again.
"""

import asyncio
import pickle
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, TypeVarTuple

import numpy as np
from tests.aggregator.rig import task_data

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.cid import Cid, object_cid_from_digest
from zkpot.ids import DeviceId, Round, device_text, digest
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair
from zkpot.link import BrokerSettings, Incoming
from zkpot.link.blocks import BlockExchange
from zkpot.link.memory import MemoryBroker, MemoryLink
from zkpot.model import WEIGHT_MAX, WEIGHT_MIN, Int64Array, Shape
from zkpot.proof.system import ModelOpening, Progress, ProofSystem, no_progress
from zkpot.record import Record, Roster, RosterEntry, SignedRecord, decode_object
from zkpot.secure.exchange import Confirmations, Delivery, KeyList, Survivors
from zkpot.secure.states import MemberState, decode_state
from zkpot.task import Task
from zkpot.wire import topics
from zkpot.wire.envelope import open_envelope
from zkpot.wire.messages import Announcement, Block, Message, Receipt, RecordProposal, Want
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import AgentConfig, DataConfig, ExportConfig, PrivacyConfig, TrainConfig
from zkpot_agent.driver import Driver as AgentDriver
from zkpot_agent.objects import Objects
from zkpot_agent.profile_holds import Holds
from zkpot_agent.round import events as agent_on
from zkpot_agent.round_secrets import member_key
from zkpot_agent.work import Worker
from zkpot_aggregator import verifying
from zkpot_aggregator.audit.audit import Sources, audit
from zkpot_aggregator.audit.report import AuditReport
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.config import TaskConfig
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.driver import Driver
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.inbound import check_sender
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.ledger.views import RoundView
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.task_setup import TaskHandle, ensure_task

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

OPERATOR = KeyPair.from_seed(b"o" * 32)
PATIENCE_S = 200
FILE = "journal.sqlite"
CHANNEL_TO_EVENT: dict[str, Callable[[bytes], on.Event]] = {
    "up/commitment": on.CommitmentReceived,
    "up/submission": on.SubmissionReceived,
    "up/opening": on.OpeningReceived,
    "up/secure": on.SecureReceived,
    "up/record": on.RecordAnswered,
}


def device_key(number: int) -> KeyPair:
    """The same key for the same number, every time."""
    return KeyPair.from_seed(digest("secure-fleet", bytes([number])))


def task_config(**changes: Any) -> TaskConfig:
    """One round; whoever proves anything is accepted. No deadline passes by itself."""
    config = TaskConfig(
        name="fleet",
        dataset="in memory",
        proof_system="sumcheck/1",
        rounds=1,
        batch_size=4,
        minimum_devices=3,
        maximum_devices=20,
        gate_margin=4,
        aggregation="secure",
        group_size=5,
        group_minimum=3,
        commit_s=10_000,
        prove_s=10_000,
        aggregate_s=10_000,
        record_s=10_000,
    )
    return replace(config, **changes)


@dataclass(frozen=True)
class Said:
    """What was published, by whom, and whether it was lost on the way."""

    client: str
    payload: bytes
    lost: bool


class Tap(MemoryBroker):
    """Keeps a copy of everything that is published; loses what `loses` picks."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Said] = []
        self.loses: Callable[[str, bytes], bool] = lambda _client, _payload: False

    def publish(self, client_id: str, message: Outgoing) -> None:
        """See `MemoryBroker.publish`."""
        lost = self.loses(client_id, message.payload)
        self.said.append(Said(client_id, message.payload, lost))
        if not lost:
            super().publish(client_id, message)


class Here(verifying.Verifier):
    """Runs the real jobs in this process; what goes in and out is copied, as between processes."""

    def __init__(self) -> None:
        pass

    async def run(self, job: Callable[[*Ts], R], *args: *Ts) -> R:
        """See `Verifier.run`."""
        await asyncio.sleep(0)
        copied = pickle.loads(pickle.dumps(args))  # noqa: S301  # our own bytes
        result: R = pickle.loads(pickle.dumps(job(*copied)))  # noqa: S301
        return result


class Remembering(Journal):
    """Remembers the secrets that were ever in it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.secrets: list[tuple[str, bytes]] = []

    def transition(
        self, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        """See `Journal.transition`."""
        new = ((key, value) for key, value in puts.items() if value is not None)
        self.secrets += [item for item in new if item[0].startswith("secret/")]
        super().transition(puts, outgoing)


class Process:
    """Tasks that die together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        journal = Remembering.open(folder / FILE)
        assert isinstance(journal, Remembering)
        self.journal = journal
        self.tasks: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Starts a task of this process."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    def check(self) -> None:
        """Raises what one of the tasks has died of."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def kill(self) -> None:
        """Ends everything without a word. What is on disk stays."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.journal.close()


class Aggregator(Process):
    """As `zkpot_aggregator.service` builds it."""

    def __init__(self, fleet: "Fleet") -> None:
        super().__init__(fleet.folder / "aggregator")
        self._fleet, folder = fleet, fleet.folder / "aggregator"
        pool = folder / "pool.cbor"
        self.handle = ensure_task(
            fleet.config, task_data(), pool, OPERATOR, self.journal, fleet.content, fleet.ledger
        )
        intake = Intake(folder / "intake", fleet.content)
        link = MemoryLink(
            fleet.broker,
            client_id="aggregator",
            journal=self.journal,
            subscriptions=topics.aggregator_subscriptions(),
            births=self._births,
        )
        self._exchange = BlockExchange(
            link,
            key=OPERATOR,
            store=intake,
            address=topics.down,
            may_serve=lambda _peer, cid: fleet.content.has(cid),
        )
        self.worker = fleet.worker_type(
            self.handle,
            OPERATOR,
            self.journal,
            Chain(fleet.ledger, self.journal),
            fleet.content,
            intake,
            self._exchange,
            Here(),
            folder / "cache",
        )
        self.driver = Driver(self.worker, fleet.roster, self.spawn, self._entered)
        self.spawn(link.run())
        self.spawn(self._exchange.run())
        self.spawn(self._receive(link))
        self.spawn(self.driver.start())

    async def kill(self) -> None:
        """See `Process.kill`."""
        await super().kill()
        self.worker.chain.stop()

    def _births(self) -> list[Outgoing]:
        return self.driver.announcement()

    def _entered(self, state: at.State) -> None:
        self._fleet.states.append(type(state).__name__)

    async def _receive(self, link: MemoryLink) -> None:
        async for incoming in link.incoming():
            self._take(incoming)

    def _take(self, incoming: Incoming) -> None:
        topic = topics.parse_device_topic(incoming.topic)
        keys = self._fleet.roster.public_keys
        check_sender(topic, incoming.payload, keys)
        if topic.channel in CHANNEL_TO_EVENT:
            self.driver.apply(CHANNEL_TO_EVENT[topic.channel](incoming.payload))
            return
        opened = open_envelope(incoming.payload, keys)
        if isinstance(opened.message, Want | Block):
            self._exchange.receive(opened.signer, opened.message)

    @property
    def masking(self) -> at.Masking | None:
        """The state, if it is AGGREGATE in secure mode."""
        state = self.driver.state
        return state if isinstance(state, at.Masking) else None


def random_model(
    _progress: Progress,
    _holds: Holds,
    task: Task,
    _start: GlobalModel,
    _data: DataConfig,
    _config: TrainConfig,
    seed: int,
) -> ModelOpening:
    """In place of training: the same model for the same seed."""
    return ModelOpening(random_theta(task.model.shape, seed), b"")


def random_theta(shape: Shape, seed: int) -> Int64Array:
    """Any admissible parameters, int64 [P]."""
    generator = np.random.default_rng(seed)
    return generator.integers(WEIGHT_MIN, WEIGHT_MAX + 1, shape.parameters).astype(np.int64)


def seed_of(number: int) -> int:
    """Where a device's models come from; the round is added."""
    return 1000 * (number + 1)


@dataclass(frozen=True)
class Untrained(Worker):
    """A device whose models are random."""

    training = staticmethod(random_model)


class Agent(Process):
    """As `zkpot_agent.service` builds it."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        folder = fleet.folder / f"device-{number}"
        super().__init__(folder)
        self.key = device_key(number)
        handle = fleet.handle
        config = AgentConfig(
            task=handle.id.hex(),
            operator_key=OPERATOR.public_key.hex(),
            key_file=folder / "device.key",
            state_dir=folder,
            broker=BrokerSettings("127.0.0.1", 1),
            data=DataConfig("none"),
            train=TrainConfig(seed=seed_of(number)),
            privacy=PrivacyConfig((fleet.config.chosen_aggregation,), minimum_group=3),
            export=ExportConfig(tflite=False),
        )
        link = MemoryLink(
            fleet.broker,
            client_id=device_text(self.key.id),
            journal=self.journal,
            subscriptions=topics.device_subscriptions(self.key.id, handle.id),
            births=self._births,
        )
        blocks = JournalBlocks(self.journal)
        self._exchange = BlockExchange(
            link,
            key=self.key,
            store=blocks,
            address=lambda _peer, kind: topics.up(self.key.id, kind),
        )
        objects = Objects(self._exchange, OPERATOR.id)
        worker_type = fleet.device_types.get(number, Untrained)
        worker = worker_type(
            config, handle.task, self.key, self.journal, blocks, objects, no_progress
        )
        self.driver = AgentDriver(worker, self.spawn)
        self.driver.resume()
        self.spawn(link.run())
        self.spawn(self._exchange.run())
        self.spawn(self._receive(link))

    def _births(self) -> list[Outgoing]:
        return self.driver.unanswered()

    @property
    def member_states(self) -> list[MemberState]:
        """What this process has ever remembered as a member of a group."""
        return [
            decode_state(value)
            for key, value in self.journal.secrets
            if key.startswith(member_key(0)[:-8])
        ]

    async def _receive(self, link: MemoryLink) -> None:
        async for incoming in link.incoming():
            opened = open_envelope(incoming.payload, {OPERATOR.id: OPERATOR.public_key})
            match opened.message:
                case Announcement() as announcement:
                    self.driver.apply(agent_on.Announced(announcement))
                case Receipt() as receipt:
                    self.driver.apply(agent_on.Receipted(receipt))
                case KeyList() | Delivery() | Survivors() | Confirmations() as told:
                    self.driver.apply(agent_on.Told(told))
                case RecordProposal(_, round_number, record):
                    self.driver.apply(agent_on.RecordProposed(round_number, record))
                case Want() | Block() as content:
                    self._exchange.receive(opened.signer, content)
                case other:
                    raise AssertionError(other)


class Fleet:
    """The outside world of all processes, and the processes that run."""

    def __init__(
        self,
        folder: Path,
        number: int = 5,
        *,
        config: TaskConfig | None = None,
        worker_type: type[GroupWorker] = GroupWorker,
        device_types: dict[int, type[Worker]] | None = None,
    ) -> None:
        self.folder, self.config = folder, config or task_config()
        self.worker_type, self.device_types = worker_type, device_types or {}
        self.ledger, self.content, self.broker = MemoryLedger(), MemoryStore(), Tap()
        self.states: list[str] = []
        keys = [device_key(each) for each in range(number)]
        self.roster = Roster.of(
            RosterEntry(key.public_key, f"owner {n}") for n, key in enumerate(keys)
        )
        self.aggregator = Aggregator(self)
        self.agents: dict[int, Agent] = {each: Agent(self, each) for each in range(number)}

    @property
    def handle(self) -> TaskHandle:
        """The task."""
        return self.aggregator.handle

    async def until(self, reached: Callable[[], bool]) -> None:
        """Lets everything run until `reached`; raises what any part of it has died of."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not reached():
                    await asyncio.sleep(0.005)
                    self.raise_deaths()
        except TimeoutError as error:
            devices = {n: type(agent.driver.state).__name__ for n, agent in self.agents.items()}
            raise AssertionError(f"{self.states[-1:]}, devices {devices}") from error

    def raise_deaths(self) -> None:
        """Raises what one of the processes has died of."""
        for process in (self.aggregator, *self.agents.values()):
            process.check()

    async def until_over(self) -> None:
        """Until the task's last round has ended; leaders that are dead are passed over."""

        def over() -> bool:
            driver = self.aggregator.driver
            if isinstance(driver.state, at.Recording):
                asked = driver.state.order[driver.state.rank]
                if asked not in {agent.key.id for agent in self.agents.values()}:
                    driver.apply(on.DeadlinePassed(f"record-{driver.state.rank}"))
            return driver.finished.is_set()

        await self.until(over)

    async def kill_agent(self, number: int) -> None:
        """For ever, unless `start_agent` follows."""
        await self.agents.pop(number).kill()

    def start_agent(self, number: int) -> None:
        """Starts a device from its disk."""
        self.agents[number] = Agent(self, number)

    async def restart_aggregator(self) -> None:
        """Kills the aggregator and starts it from its disk."""
        await self.aggregator.kill()
        self.aggregator = Aggregator(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in (self.aggregator, *self.agents.values()):
            await process.kill()

    def step_ends(self, index: int = 0) -> None:
        """The deadline of a group's open step passes."""
        masking = self.aggregator.masking
        assert masking is not None
        self.aggregator.driver.apply(on.DeadlinePassed(masking.groups[index].timer))

    def theta(self, device: DeviceId, round_number: int = 1) -> Int64Array:
        """The model that a device makes in a round, int64 [P]."""
        number = next(n for n in range(len(self.roster.entries)) if device_key(n).id == device)
        return random_theta(self.handle.task.model.shape, seed_of(number) + round_number)

    def record(self, number: int = 1) -> Record:
        """The record of a closed round, by the chain."""
        view = self.ledger.round(self.handle.id, Round(number))
        signed = get_object(self.content, object_cid_from_digest(view.record))
        record = decode_object(SignedRecord, signed).record
        return decode_object(Record, get_object(self.content, record))

    @property
    def devices(self) -> set[DeviceId]:
        """Everybody's id."""
        return set(self.roster.public_keys)

    def view(self, number: int = 1) -> RoundView:
        """A round, by the chain."""
        return self.ledger.round(self.handle.id, Round(number))

    def model(self, cid: Cid) -> GlobalModel:
        """A global model in the content store."""
        return decode_global_model(self.handle.task.model.shape, get_object(self.content, cid))

    @property
    def system(self) -> ProofSystem:
        """The task's proof system."""
        return self.handle.task.backend(self.folder).load()

    def messages(self) -> list[Message]:
        """Everything that was said."""
        keys = {**self.roster.public_keys, OPERATOR.id: OPERATOR.public_key}
        return [open_envelope(said.payload, keys).message for said in self.broker.said]

    def audit(self) -> AuditReport:
        """The audit of the task, from chain and content store, with every proof."""
        sources = Sources(self.ledger, self.content, lambda task: task.backend(self.folder).load())
        return audit(self.handle.id, sources)

    def check(self, summands: set[DeviceId], number: int = 1) -> None:
        """The round is closed with the sum of exactly these devices' models, and audits clean."""
        record = self.record(number)
        assert {each.device for each in record.sum.summands} == summands
        model = self.model(record.model_after)
        expected = sum(
            (each.weight * self.theta(each.device, number) for each in record.sum.summands),
            start=np.zeros(len(model.theta_sum), np.int64),
        )
        assert np.array_equal(model.theta_sum, expected)
        assert model.weight == sum(each.weight for each in record.sum.summands)
        assert self.audit().fault is None
