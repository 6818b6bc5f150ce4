"""Builds the validator's objects and runs them; the one place where they are connected.

One loop does the work, in this order: rounds that have ended are settled, then what is
announced of the running one is looked at. Messages are heard meanwhile.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

from zkpot.errors import ExitCode, Fatal, Rejected, Transient
from zkpot.ids import device_text
from zkpot.journal import Journal, Outgoing
from zkpot.keys import device_id, load_key_file
from zkpot.link import Incoming, Link
from zkpot.link.blocks import BlockExchange
from zkpot.link.mqtt import MqttLink
from zkpot.notify import Notifier, Pulse, feed_watchdog
from zkpot.proof import child
from zkpot.proof import jobs as proof_jobs
from zkpot.proof.system import Progress, no_progress
from zkpot.serving import serving
from zkpot.task import Task, manifest_cid
from zkpot.wire import topics
from zkpot.wire.envelope import open_envelope
from zkpot.wire.messages import Announcement, Block
from zkpot_aggregator.audit.audit import load_task
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger
from zkpot_aggregator.outside import open_content
from zkpot_aggregator.patience import patiently
from zkpot_aggregator.validate.config import ValidateConfig, with_credentials
from zkpot_aggregator.validate.endorse import Endorsing
from zkpot_aggregator.validate.hearing import Hearing
from zkpot_aggregator.validate.library import Library, Shelf
from zkpot_aggregator.validate.outcome import Outcomes
from zkpot_aggregator.validate.remember import RememberingSystem
from zkpot_aggregator.validate.settle import Settling
from zkpot_aggregator.validate.tools import Tools

_logger = logging.getLogger(__name__)


def open_ledger(config: ValidateConfig, layout: Layout, stack: contextlib.ExitStack) -> Ledger:
    """The ledger, until `stack` is closed."""
    return stack.enter_context(JsonRpcLedger.open(config.ledger, layout.calls))


class ValidatorService:
    """One validator of one task. `ledger` opens what it votes on."""

    def __init__(
        self,
        config: ValidateConfig,
        *,
        ledger: Callable[[ValidateConfig, Layout, contextlib.ExitStack], Ledger] = open_ledger,
        progress: Progress = no_progress,
    ) -> None:
        self._config = with_credentials(config)
        self._open_ledger = ledger
        self._progress = progress
        self._notifier = Notifier()
        self._key = load_key_file(self._config.key_file)
        self._layout = Layout(config.state_dir)
        self._operator = bytes.fromhex(config.operator_key)
        self._exchange: BlockExchange | None = None
        self._hearing: Hearing | None = None
        self._endorsing: Endorsing | None = None
        self._early: Announcement | None = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Validates until cancelled; raises `Fatal` for what only the owner can mend."""
        config, layout = self._config, self._layout
        with contextlib.ExitStack() as stack:
            journal = stack.enter_context(Journal.open(layout.journal))
            chain = Chain(self._open_ledger(config, layout, stack), journal)
            stack.callback(chain.stop)
            content = open_content(config.content, layout, stack)
            link = MqttLink(
                config.broker,
                client_id=device_text(self._key.id),
                journal=journal,
                subscriptions=topics.validator_subscriptions(self._key.id, config.task_id),
                births=self._births,
            )
            shelf = Shelf(Intake(layout.intake, content), content)
            self._exchange = BlockExchange(
                link,
                key=self._key,
                store=shelf,
                address=lambda _peer, kind: topics.up(self._key.id, kind),
            )
            loop, operator = asyncio.get_running_loop(), device_id(self._operator)
            library = Library(shelf, self._exchange, operator, config.fetch_s, loop)
            await self._serve(link, library, journal, chain)

    async def _serve(self, link: Link, library: Library, journal: Journal, chain: Chain) -> None:
        async with serving(link, self._notifier) as group:
            group.create_task(link.run())
            group.create_task(self._receive_all(link))
            group.create_task(self._validate(library, journal, chain))
            group.create_task(feed_watchdog(self._notifier, Pulse()))
            await link.ready()
            self._notifier.ready()

    async def _validate(self, library: Library, journal: Journal, chain: Chain) -> None:
        config = self._config
        task = await self._find_task(chain, library)
        backend = task.backend(config.cache_dir or config.state_dir / "cache")
        await child.run(proof_jobs.prepare, backend, progress=self._progress)
        system = RememberingSystem(await asyncio.to_thread(backend.prepared))
        tools = Tools(config.task_id, task, self._key, journal, chain, library, system)
        self._hearing = Hearing(journal, library.shelf.intake, config.margin_s)
        outcomes = Outcomes(journal)
        settling = Settling(tools, outcomes, self._hearing)
        self._endorsing = Endorsing(tools, outcomes, self._hearing)
        if self._early is not None:
            self._endorsing.announced(self._early, kept=True)
        try:
            while True:
                await self._work(settling, self._endorsing)
                self._notifier.status(f"waiting for round {outcomes.next_round}")
        finally:
            _logger.info("stopping before round %d", outcomes.next_round)

    async def _work(self, settling: Settling, endorsing: Endorsing) -> None:
        """All that can be done now, then a pause until there is news or the time to look again."""
        self._news.clear()
        try:
            await settling.step()
            await endorsing.step()
        except (Rejected, Transient) as error:
            _logger.warning("this has to be done again: %s", error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.poll_s):
                await self._news.wait()

    async def _find_task(self, chain: Chain, library: Library) -> Task:
        """The task, once the chain and whoever keeps its manifest show it."""
        task_id, get = self._config.task_id, library.of_closed
        manifest = manifest_cid(task_id)
        self._notifier.status("looking for the task")
        held: Task | None = None
        while held is None:
            try:
                task = await chain.read(lambda ledger: load_task(task_id, ledger, get))
                self._check_role(task)
                await asyncio.to_thread(library.hold, manifest)
                held = task
            except (Rejected, Transient) as error:
                _logger.info("waiting for the task: %s", error)
                await asyncio.sleep(self._config.poll_s)
        await patiently(partial(library.shelf.content.pin, manifest), "the pin of the task")
        return held

    def _check_role(self, task: Task) -> None:
        if task.operator_key != self._operator:
            raise Fatal(ExitCode.CONFIG, "operator_key is not the one in the task's manifest")
        if self._key.public_key not in {each.public_key for each in task.validators}:
            raise Fatal(ExitCode.CONFIG, "key_file is the key of none of the task's validators")

    # --- messages ---------------------------------------------------------------------------

    async def _receive_all(self, link: Link) -> None:
        async for incoming in link.incoming():
            try:
                self._receive(incoming)
            except (Rejected, Transient) as error:
                _logger.debug("refused a message on %s: %s", incoming.topic, error)

    def _receive(self, incoming: Incoming) -> None:
        if not incoming.payload:
            return
        if topics.is_up(incoming.topic):
            if self._hearing is not None:
                self._hearing.hear(topics.parse_device_topic(incoming.topic), incoming.payload)
            return
        opened = open_envelope(incoming.payload, {device_id(self._operator): self._operator})
        match opened.message:
            case Announcement() as announcement if announcement.task == self._config.task_id:
                self._early = announcement
                if self._endorsing is not None:
                    self._endorsing.announced(announcement, kept=incoming.retained)
                self._news.set()
            case Block() as block if self._exchange is not None:
                self._exchange.receive(opened.signer, block)
            case _:
                pass

    def _births(self) -> list[Outgoing]:
        if self._exchange is not None:
            self._exchange.reconnected()
        if self._hearing is not None:
            self._hearing.connected()
        return [] if self._endorsing is None else self._endorsing.endorsements()
