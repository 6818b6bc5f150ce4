"""Builds the aggregator's objects and runs them; the one place where they are connected."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from zkpot.errors import ExitCode, Fatal, Rejected, reason_text
from zkpot.files import WORLD, replace_file
from zkpot.ids import DeviceId, device_text
from zkpot.journal import Journal, Outgoing
from zkpot.keys import device_id, load_key_file
from zkpot.link import BrokerSettings, Incoming
from zkpot.link.blocks import BlockExchange
from zkpot.link.mqtt import MqttLink
from zkpot.notify import Notifier, Pulse, feed_watchdog
from zkpot.proof import child
from zkpot.proof import jobs as proof_jobs
from zkpot.proof.system import Progress, no_progress
from zkpot.record import Roster, RosterEntry
from zkpot.serving import serving
from zkpot.wire import topics
from zkpot.wire.envelope import envelope_digest, open_envelope
from zkpot.wire.messages import NOT_READY, Block, Status, Want
from zkpot_aggregator import verifying
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.config import AggregatorConfig, BrokerKind, with_credentials
from zkpot_aggregator.driver import REJECTION, Driver
from zkpot_aggregator.embedded.access import Account
from zkpot_aggregator.embedded.broker import EmbeddedBroker
from zkpot_aggregator.embedded.passwords import make_password, read_password
from zkpot_aggregator.farewell import Farewell
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.inbound import check_sender
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.outside import open_content, open_ledger
from zkpot_aggregator.patience import patiently
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.task_data import load_task_data
from zkpot_aggregator.task_setup import TaskHandle, ensure_task

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """The aggregator listens; devices may come."""

    task: TaskHandle
    operator_key: bytes
    broker: BrokerSettings


OnReady: TypeAlias = Callable[[Ready], None]
OnState: TypeAlias = Callable[[at.State], None]


class AggregatorService:
    """One aggregator with one task. `ledger` opens what it writes to."""

    def __init__(
        self,
        config: AggregatorConfig,
        *,
        worker_type: type[GroupWorker] = GroupWorker,
        ledger: Callable[[AggregatorConfig, Layout, contextlib.ExitStack], Ledger] = open_ledger,
        on_ready: OnReady = lambda _ready: None,
        on_state: OnState = lambda _state: None,
        progress: Progress = no_progress,
    ) -> None:
        config = with_credentials(config)
        self._config = config
        self._worker_type = worker_type
        self._open_ledger = ledger
        self._on_ready = on_ready
        self._on_state = on_state
        self._notifier = Notifier()
        self._progress = progress
        self._key = load_key_file(config.key_file)
        self._layout = Layout(config.state_dir)
        entries = [RosterEntry(bytes.fromhex(d.public_key), d.owner) for d in config.devices]
        try:
            self._roster = Roster.of(entries)
        except Rejected as rejection:
            raise Fatal(ExitCode.CONFIG, f"devices: {rejection.detail}") from rejection
        validators = [bytes.fromhex(each.public_key) for each in config.task.validators]
        self._public_keys = {
            **self._roster.public_keys,
            **{device_id(each): each for each in validators},
        }
        self._driver: Driver | None = None
        self._exchange: BlockExchange | None = None
        self._ready_devices: set[DeviceId] = set()
        self._device_ready = asyncio.Event()
        self._farewell = Farewell()

    async def run(self) -> None:
        """Runs the task's rounds; returns after the last, raises `Fatal` if it cannot go on."""
        config, layout = self._config, self._layout
        with contextlib.ExitStack() as stack:
            journal = stack.enter_context(Journal.open(layout.journal))
            ledger = self._open_ledger(config, layout, stack)
            content = open_content(config.content, layout, stack)
            data = load_task_data(
                config.task.dataset, config.task.dataset_parameters, config.state_dir
            )
            make_task = partial(
                ensure_task, config.task, data, layout.pool, self._key, journal, content, ledger
            )
            handle = await patiently(make_task, "the task")
            replace_file(layout.task, handle.id.hex().encode() + b"\n", WORLD)
            backend = handle.task.backend(config.cache_dir or layout.root / "cache")
            await child.run(proof_jobs.prepare, backend, progress=self._progress)
            verifier = verifying.Verifier(config.verify_workers)
            stack.callback(verifier.stop)
            await verifier.run(verifying.warm_up, backend)
            chain = Chain(ledger, journal)
            stack.callback(chain.stop)
            settings = self._broker(stack)
            intake = Intake(layout.intake, content)
            link = MqttLink(
                settings,
                client_id=device_text(self._key.id),
                journal=journal,
                subscriptions=topics.aggregator_subscriptions(),
                births=self._births,
            )
            exchange = BlockExchange(
                link,
                key=self._key,
                store=intake,
                address=topics.down,
                may_serve=lambda _peer, cid: content.has(cid),
            )
            self._exchange = exchange
            worker = self._worker_type(
                handle,
                self._key,
                journal,
                chain,
                content,
                intake,
                exchange,
                verifier,
                backend.cache_dir,
                keep_rounds=config.content.keep_rounds,
            )
            await self._serve(link, exchange, worker, Ready(handle, self._key.public_key, settings))

    async def _serve(
        self, link: MqttLink, exchange: BlockExchange, worker: GroupWorker, ready: Ready
    ) -> None:
        async with serving(link, self._notifier) as group:
            driver = Driver(worker, self._roster, group.create_task, self._show_state)
            running = [
                group.create_task(link.run()),
                group.create_task(exchange.run()),
                group.create_task(self._receive_all(link, worker)),
                group.create_task(feed_watchdog(self._notifier, Pulse())),
            ]
            await link.ready()
            self._notifier.ready()
            self._on_ready(ready)
            await self._gather(worker)
            self._driver = driver
            await driver.start()
            await driver.finished.wait()
            await self._farewell.see_off(self._ready_devices)
            await link.stop()
            for task in running:
                task.cancel()

    def _show_state(self, state: at.State) -> None:
        self._farewell.entered(state)
        self._notifier.status(f"round {state.start.round}: {type(state).__name__.lower()}")
        self._on_state(state)

    async def _gather(self, worker: GroupWorker) -> None:
        """Waits until every enrolled device is ready, but no longer than a COMMIT phase."""
        devices, limit = set(self._roster.public_keys), worker.handle.task.deadlines.commit
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not devices <= self._ready_devices:
                    self._device_ready.clear()
                    await self._device_ready.wait()
        _logger.info("%d of %d devices are ready", len(self._ready_devices), len(devices))

    def _note_status(self, payload: bytes) -> None:
        opened = open_envelope(payload, self._roster.public_keys)
        if not isinstance(opened.message, Status):
            return
        if opened.message.activity in NOT_READY:
            self._ready_devices.discard(opened.signer)
            return
        self._farewell.heard(opened.signer, opened.message.activity)
        self._ready_devices.add(opened.signer)
        self._device_ready.set()

    def _broker(self, stack: contextlib.ExitStack) -> BrokerSettings:
        if self._config.broker.kind is BrokerKind.EXTERNAL:
            assert self._config.broker.settings is not None
            return self._config.broker.settings
        password_file = self._layout.broker / "aggregator-password"
        make_password(password_file)
        accounts = [
            Account(self._key.id, read_password(password_file), is_aggregator=True),
            *(
                Account(entry.device, read_password(config.password_file))
                for entry, config in zip(
                    (RosterEntry(bytes.fromhex(d.public_key), "") for d in self._config.devices),
                    self._config.devices,
                    strict=True,
                )
            ),
            *(
                Account(
                    device_id(bytes.fromhex(prover.public_key)),
                    read_password(prover.password_file),
                    is_prover=True,
                )
                for prover in self._config.provers
            ),
            *(
                Account(
                    device_id(bytes.fromhex(validator.public_key)),
                    read_password(validator.password_file),
                    is_validator=True,
                )
                for validator in self._config.task.validators
            ),
        ]
        broker = stack.enter_context(EmbeddedBroker(self._layout.broker, accounts))
        return BrokerSettings(
            broker.host,
            broker.port,
            username=device_text(self._key.id),
            password_file=password_file,
        )

    async def _receive_all(self, link: MqttLink, worker: GroupWorker) -> None:
        async for incoming in link.incoming():
            try:
                self._receive(incoming)
            except Rejected as rejection:
                self._note_rejection(worker.journal, incoming, rejection)
            await asyncio.sleep(0)  # Its blocks may follow at once: the fetch must have begun.

    def _receive(self, incoming: Incoming) -> None:
        topic = topics.parse_device_topic(incoming.topic)
        driver, exchange = self._driver, self._exchange
        if exchange is None or not incoming.payload:
            return
        check_sender(topic, incoming.payload, self._public_keys)
        if topic.channel in ("up/want", "up/block"):
            opened = open_envelope(incoming.payload, self._public_keys)
            if isinstance(opened.message, Want | Block):
                exchange.receive(opened.signer, opened.message)
        elif topic.channel == "status":
            self._note_status(incoming.payload)
        elif driver is not None:
            self._receive_for_round(driver, topic.channel, incoming.payload)

    def _receive_for_round(self, driver: Driver, channel: str, payload: bytes) -> None:
        match channel:
            case "up/commitment":
                driver.apply(on.CommitmentReceived(payload))
            case "up/submission":
                driver.apply(on.SubmissionReceived(payload))
            case "up/decline":
                driver.apply(on.DeclineReceived(payload))
            case "up/opening":
                driver.apply(on.OpeningReceived(payload))
            case "up/secure":
                driver.apply(on.SecureReceived(payload))
            case "up/record":
                driver.apply(on.RecordAnswered(payload))
            case _:
                open_envelope(payload, self._roster.public_keys)

    def _note_rejection(self, journal: Journal, incoming: Incoming, rejection: Rejected) -> None:
        name = envelope_digest(incoming.payload).hex()
        code = reason_text(rejection.reason)
        if journal.note(REJECTION + "-other", f"{incoming.topic}/{code}/{name}"):
            _logger.warning("rejected a message on %s: %s", incoming.topic, rejection)

    def _births(self) -> list[Outgoing]:
        if self._exchange is not None:
            self._exchange.reconnected()
        return [] if self._driver is None else self._driver.announcement()
