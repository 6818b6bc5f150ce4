"""Builds a device's objects and runs them; the one place where they are connected."""

import logging
from collections import deque

from zkpot import __version__
from zkpot.cid import Cid
from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.ids import device_text
from zkpot.journal import Journal, Outgoing
from zkpot.keys import device_id, load_key_file
from zkpot.link import Incoming
from zkpot.link.blocks import BlockExchange
from zkpot.link.download import DEFAULT_WINDOW
from zkpot.link.mqtt import MqttLink
from zkpot.notify import Notifier, Pulse, StatusLine, feed_watchdog
from zkpot.proof.registry import available
from zkpot.proof.system import Progress, no_progress
from zkpot.secure.exchange import Confirmations, Delivery, KeyList, Survivors
from zkpot.serving import serving
from zkpot.task import Task
from zkpot.wire import topics
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import (
    NOT_READY,
    Announcement,
    Block,
    Capabilities,
    Receipt,
    RecordProposal,
    Status,
    Want,
    has_model,
)
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import JOURNAL_FILE, Accept, AgentConfig, ProveMode, with_credentials
from zkpot_agent.driver import Driver, Spawn
from zkpot_agent.endorsed import EndorsedAnnouncements
from zkpot_agent.objects import Objects, fetch_task
from zkpot_agent.privacy.accountant import require_accountant
from zkpot_agent.profile import bounded, profile_of
from zkpot_agent.profile_holds import Holds
from zkpot_agent.proving.offload import OffloadClient
from zkpot_agent.proving.policy import ProvingPolicy
from zkpot_agent.round import events as on
from zkpot_agent.round.machine import round_of
from zkpot_agent.round.states import State
from zkpot_agent.work import Worker

_logger = logging.getLogger(__name__)

_SESSION_KEY = "session"
_OWNER_KEY = "owner"

PREPARE_SECONDS = 3700.0
"""A little more than `Worker.prepare` gives its child."""


MAX_EARLY = 16
"""What comes before the proof system is ready waits: more than is said to a device in a round."""


class AgentService:
    """One device in one task."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        worker_type: type[Worker] = Worker,
        progress: Progress = no_progress,
        notifier: Notifier | None = None,
    ) -> None:
        if config.privacy.differential is not None:
            require_accountant()
        self._profile = profile_of(config)
        config = bounded(with_credentials(config), self._profile)
        self._config = config
        self._worker_type = worker_type
        self._notifier = notifier or Notifier()
        self._pulse = Pulse()
        self._line = StatusLine(self._notifier, self._pulse, progress)
        self._key = load_key_file(config.key_file)
        self._operator = config.operator_public_key
        self._keys = {device_id(self._operator): self._operator}
        self._journal = Journal.open(config.state_dir / JOURNAL_FILE)
        self._claim_state()
        self._session = self._next_session()
        self._activity, self._offline = NOT_READY
        self._driver: Driver | None = None
        self._early: deque[on.Event] = deque(maxlen=MAX_EARLY)
        self._announcements = EndorsedAnnouncements(
            config.task_id, self._act_on, final_only=config.model.accept is Accept.FINAL
        )

    async def run(self) -> None:
        """Takes part until cancelled; raises `Fatal` for what only the owner can mend."""
        blocks, prove = JournalBlocks(self._journal), self._config.prove
        link = MqttLink(
            self._config.broker,
            client_id=device_text(self._key.id),
            journal=self._journal,
            subscriptions=(
                *topics.device_subscriptions(self._key.id, self._config.task_id),
                *topics.offload_subscriptions(self._key.id, map(device_id, prove.prover_keys)),
            ),
            will=self._status(online=False),
            births=self._births,
        )
        window = self._profile.network.blocks_in_flight if self._profile else DEFAULT_WINDOW
        self._exchange = BlockExchange(
            link,
            key=self._key,
            store=blocks,
            address=lambda _peer, kind: topics.up(self._key.id, kind),
            window=window,
        )
        self._offload = OffloadClient(
            link, self._key, self._journal, prove.prover_keys, lease_s=prove.lease_s, window=window
        )
        self._line.phase("connecting to the broker")
        with self._journal:
            async with serving(link, self._notifier) as group:
                group.create_task(link.run())
                group.create_task(self._exchange.run())
                group.create_task(self._offload.run())
                group.create_task(self._receive_all(link))
                group.create_task(self._join(blocks, group.create_task))
                group.create_task(self._say_ready(link))
                group.create_task(feed_watchdog(self._notifier, self._pulse))

    async def _say_ready(self, link: MqttLink) -> None:
        await link.ready()
        self._notifier.ready()

    async def _join(self, blocks: JournalBlocks, spawn: Spawn) -> None:
        """Fetches the task, gets the proof system ready, then lets the round begin."""
        objects = Objects(self._exchange, device_id(self._operator))
        task = await self._task(objects)
        prove = self._config.prove
        policy = ProvingPolicy(
            prove.mode or ProveMode.LOCAL, self._journal, self._offload if prove.provers else None
        )
        worker = self._worker_type(
            self._config,
            task,
            self._key,
            self._journal,
            blocks,
            objects,
            self._line.progress,
            Holds.of(self._profile),
            policy.prove,
        )
        self._line.phase("preparing the proof system")
        self._pulse.busy(PREPARE_SECONDS + task.deadlines.prove)
        await worker.prepare()
        await policy.prepare(
            worker.backend, self._config.limits, task.deadlines.prove, self._line.progress
        )
        self._pulse.idle()
        self._driver = Driver(worker, spawn, self._entered, self._pulse, self._published)
        self._line.phase("waiting for a round")
        self._say("ready")
        self._driver.resume()
        self._announcements.begin(task)
        while self._early:
            self._driver.apply(self._early.popleft())

    async def _task(self, objects: Objects) -> Task:
        self._line.phase("fetching the task")
        task = await fetch_task(objects, self._config.task_id)
        if task.operator_key != self._operator:
            raise Fatal(ExitCode.CONFIG, "operator_key is not the one in the task's manifest")
        return task

    async def _receive_all(self, link: MqttLink) -> None:
        async for incoming in link.incoming():
            try:
                self._receive(incoming)
            except Rejected as rejection:
                _logger.warning("refused a message on %s: %s", incoming.topic, rejection)

    def _receive(self, incoming: Incoming) -> None:
        if not incoming.payload:
            return
        if topics.of_prover(incoming.topic):
            self._offload.receive(incoming)
            return
        if topics.is_endorsement(self._config.task_id, incoming.topic):
            self._announcements.endorsed(incoming)
            return
        opened = open_envelope(incoming.payload, self._keys)
        match opened.message:
            case Announcement() as announcement if announcement.task == self._config.task_id:
                self._announcements.announced(announcement)
            case Receipt() as receipt if receipt.task == self._config.task_id:
                self._apply(on.Receipted(receipt))
            case KeyList() | Delivery() | Survivors() | Confirmations() as told:
                self._apply(on.Told(told))
            case RecordProposal(task, round_number, record) if task == self._config.task_id:
                self._apply(on.RecordProposed(round_number, record))
            case Want() | Block() as content:
                self._exchange.receive(opened.signer, content)
            case other:
                _logger.debug("ignored a %s", type(other).__name__)

    def _act_on(self, announcement: Announcement) -> None:
        self._apply(on.Announced(announcement))

    def _apply(self, event: on.Event) -> None:
        if self._driver is None:
            self._early.append(event)
        else:
            self._driver.apply(event)

    # --- presence ---------------------------------------------------------------------------

    def _births(self) -> list[Outgoing]:
        self._exchange.reconnected()
        capabilities = Capabilities(self._key.box_key, f"zkpot/{__version__}", available())
        return [
            self._status(online=True),
            Outgoing(topics.capabilities(self._key.id), sign(capabilities, self._key), retain=True),
            *self._offload.births(),
            *(self._driver.unanswered() if self._driver is not None else ()),
        ]

    def _entered(self, state: State) -> None:
        phase = type(state).__name__.lower()
        self._line.phase(f"round {round_of(state)}: {phase}")
        self._say(phase)

    def _published(self, model: Cid) -> None:
        self._say(has_model(model))

    def _say(self, activity: str) -> None:
        self._activity = activity
        self._journal.transition({}, [self._status(online=True)])

    def _status(self, *, online: bool) -> Outgoing:
        status = Status(self._session, online, self._activity if online else self._offline)
        return Outgoing(
            topics.status(self._key.id), sign(status, self._key), retain=True, replaces="status"
        )

    def _claim_state(self) -> None:
        """One state directory belongs to one task and one key, for ever."""
        owner = self._config.task_id + self._key.id
        stored = self._journal.get(_OWNER_KEY)
        if stored is not None and stored != owner:
            raise Fatal(
                ExitCode.STATE,
                f"{self._config.state_dir} belongs to another task or key: use a new state_dir",
            )
        self._journal.transition({_OWNER_KEY: owner})

    def _next_session(self) -> int:
        stored = self._journal.get(_SESSION_KEY)
        session = 1 if stored is None else int.from_bytes(stored, "big") + 1
        self._journal.transition({_SESSION_KEY: session.to_bytes(8, "big")})
        return session
