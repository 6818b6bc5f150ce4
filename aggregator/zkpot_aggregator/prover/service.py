"""Builds the prover's objects and runs them; the one place where they are connected.

What devices seal is kept in memory, sealed, until a worker is free. The journal holds signed
messages on their way and nothing else.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TypeAlias

from zkpot import __version__
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, device_text
from zkpot.journal import Journal, Outgoing
from zkpot.keys import device_id, load_key_file
from zkpot.link import Incoming
from zkpot.link.mqtt import MqttLink
from zkpot.notify import Notifier, Pulse, feed_watchdog
from zkpot.proof.ezkl.binary import check_executable
from zkpot.serving import serving
from zkpot.wire import topics
from zkpot.wire.envelope import open_from, sign
from zkpot.wire.messages import Block, Want
from zkpot.wire.prover_messages import JobOffer, JobStatus, JobWithdrawal, ProverStatus
from zkpot.wire.topics import Kind
from zkpot_aggregator.prover import desk as at
from zkpot_aggregator.prover.config import ProverConfig, with_credentials
from zkpot_aggregator.prover.executors import DaskPool, SpawnPool
from zkpot_aggregator.prover.jobs import prove_sealed
from zkpot_aggregator.prover.work import ProveSealed, Work

_logger = logging.getLogger(__name__)

JOURNAL_FILE = "journal.sqlite"
_SESSION_KEY = "session"

OnReady: TypeAlias = Callable[[DeviceId, bytes], None]
"""Told the prover's id and public key, once the broker has accepted it."""

OnStatus: TypeAlias = Callable[[JobStatus], None]


class ProverService:
    """One prover at one broker, for the devices it is configured for."""

    def __init__(
        self,
        config: ProverConfig,
        *,
        prove: ProveSealed = prove_sealed,
        on_ready: OnReady = lambda _id, _key: None,
        on_status: OnStatus = lambda _status: None,
    ) -> None:
        config = with_credentials(config)
        if config.ezkl_binary is not None and config.dask is None:
            check_executable(config.ezkl_binary)
        self._config = config
        self._prove = prove
        self._on_ready = on_ready
        self._on_status = on_status
        self._notifier = Notifier()
        self._key = load_key_file(config.key_file)
        self._devices: Mapping[DeviceId, bytes] = {device_id(k): k for k in config.device_keys}
        self._desk = at.Desk(
            workers=config.slots, capacity=config.limits.queue, longest_s=config.limits.seconds
        )
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Proves until cancelled; raises `Fatal` for what only the owner can mend."""
        with contextlib.ExitStack() as stack:
            self._journal = stack.enter_context(Journal.open(self._config.state_dir / JOURNAL_FILE))
            self._session = self._next_session()
            pool = await self._pool()
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            self._link = MqttLink(
                self._config.broker,
                client_id=device_text(self._key.id),
                journal=self._journal,
                subscriptions=topics.prover_subscriptions(self._key.id),
                will=self._status(online=False),
                births=self._births,
            )
            await self._serve(pool)

    async def _serve(self, pool: Executor) -> None:
        async with serving(self._link, self._notifier) as group:
            self._work = Work(
                self._config,
                self._key,
                pool,
                self._link,
                prove=self._prove,
                report=self._step,
                spawn=group.create_task,
            )
            group.create_task(self._link.run())
            group.create_task(self._work.exchange.run())
            group.create_task(self._receive_all())
            group.create_task(self._tick())
            group.create_task(feed_watchdog(self._notifier, Pulse()))
            await self._link.ready()
            self._notifier.ready()
            self._on_ready(self._key.id, self._key.public_key)

    async def _pool(self) -> Executor:
        config = self._config
        limits = config.limits.of_child
        if config.dask is None:
            return SpawnPool(config.workers, limits)
        return await asyncio.to_thread(DaskPool, config.dask, limits)

    # --- messages in ------------------------------------------------------------------------

    async def _receive_all(self) -> None:
        async for incoming in self._link.incoming():
            try:
                self._receive(incoming)
            except Rejected as rejection:
                _logger.warning("refused a message on %s: %s", incoming.topic, rejection)

    def _receive(self, incoming: Incoming) -> None:
        device = topics.parse_device_topic(incoming.topic).device
        match open_from(device, incoming.payload, self._devices).message:
            case JobOffer(prover=prover) as offer if prover == self._key.id:
                self._step(at.Offered(device, offer))
            case JobWithdrawal(prover=prover, job=job) if prover == self._key.id:
                self._step(at.Withdrawn(device, job))
            case Want() | Block() as content:
                self._work.exchange.receive(device, content)
            case other:
                raise Rejected(Reason.JOB_MISMATCH, f"a {type(other).__name__} for somebody else")

    # --- what the desk decides --------------------------------------------------------------

    def _step(self, happening: at.Happening) -> None:
        for action in self._desk.step(happening, asyncio.get_running_loop().time()):
            match action:
                case at.Tell(status):
                    self._journal.transition({}, [self._told(status)])
                    self._on_status(status)
                case at.Load(queued):
                    self._journal.transition({}, [self._status(online=True)])
                    self._notifier.status(f"{queued} jobs")
                case _:
                    self._work.carry_out(action)
        self._changed.set()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            wakes_at = self._desk.wakes_at
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if wakes_at == float("inf") else wakes_at):
                    await self._changed.wait()
            if loop.time() >= self._desk.wakes_at:
                self._step(at.Tick())

    # --- messages out -----------------------------------------------------------------------

    def _births(self) -> list[Outgoing]:
        self._work.exchange.reconnected()
        return [self._status(online=True), *map(self._told, self._desk.statuses)]

    def _told(self, status: JobStatus) -> Outgoing:
        topic = topics.to_device(self._key.id, status.device, Kind.JOB)
        return Outgoing(topic, sign(status, self._key), retain=True, replaces=topic)

    def _status(self, *, online: bool) -> Outgoing:
        load = self._desk.load
        status = ProverStatus(
            self._session,
            online,
            self._key.box_key,
            f"zkpot/{__version__}",
            self._config.proof_systems,
            self._config.slots,
            load.queued,
            load.room,
            load.wait_s,
        )
        topic = topics.prover_status(self._key.id)
        return Outgoing(topic, sign(status, self._key), retain=True, replaces="status")

    def _next_session(self) -> int:
        stored = self._journal.get(_SESSION_KEY)
        session = 1 if stored is None else int.from_bytes(stored, "big") + 1
        self._journal.transition({_SESSION_KEY: session.to_bytes(8, "big")})
        return session
