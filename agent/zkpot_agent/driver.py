"""Carries out what the round machine decides, on one device.

Order for every event: the transition and its outgoing messages are on disk, then its other
effects begin. One piece of work runs at a time; a new round ends the old one's.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, get_args

from zkpot.cid import Cid, split_object
from zkpot.errors import Rejected, Transient
from zkpot.ids import Round
from zkpot.journal import Outgoing
from zkpot.notify import Pulse
from zkpot.proof.system import ProvingFailed
from zkpot.wire.codec import decode_tagged, encode, encode_tagged
from zkpot_agent.inference_publish import Publisher
from zkpot_agent.notes import RECEIPT, receipt_key
from zkpot_agent.objects import FETCH_SECONDS
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import machine
from zkpot_agent.round import states as at
from zkpot_agent.round.step import Step
from zkpot_agent.round_secrets import forgotten, member_key
from zkpot_agent.work import Worker

_logger = logging.getLogger(__name__)

STATE_KEY = "state"
INCIDENT = "incident"
"""Journal events: what the owner should know."""

RETRY_SECONDS = 2.0

GRACE_SECONDS = 60.0
"""On a busy board everything takes a little longer than its limit."""

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task whose failure ends the service, like `TaskGroup.create_task`."""


class Driver:
    """The device's round, from its journal; `apply` feeds it, `resume` starts it again."""

    def __init__(
        self,
        worker: Worker,
        spawn: Spawn,
        on_state: Callable[[at.State], None] = lambda _state: None,
        pulse: Pulse | None = None,
        on_model: Callable[[Cid], None] = lambda _model: None,
    ) -> None:
        self._worker = worker
        self._spawn = spawn
        self._on_state = on_state
        self._on_model = on_model
        self._pulse = pulse or Pulse()
        self._publisher = Publisher(worker.config, worker.task)
        self._work: asyncio.Task[None] | None = None
        self._newest: Cid | None = None
        """The record whose model is the one to keep."""
        stored = worker.journal.get(STATE_KEY)
        self.state: at.State = (
            at.Idle(Round(0)) if stored is None else decode_tagged(get_args(at.State), stored)
        )

    def resume(self) -> None:
        """Goes on where the last process stopped."""
        _logger.info("resuming: %s, round %d", *_describe(self.state))
        self._carry_out(machine.resume(self.state))

    def unanswered(self) -> list[Outgoing]:
        """The current state's message, sent again whenever the link comes back."""
        return [
            message
            for effect in machine.resume(self.state)
            if isinstance(effect, do.Send)
            for message in self._worker.outgoing(effect)
        ]

    def apply(self, event: on.Event) -> None:
        """One event: decide, write, then act."""
        before = self.state
        step = machine.step(before, event)
        if step.state == before and not step.effects:
            return
        self._write(step)
        self.state = step.state
        if step.state != before:
            _logger.info("%s, round %d", *_describe(step.state))
            self._on_state(step.state)
        self._carry_out(tuple(e for e in step.effects if not isinstance(e, do.Send)))

    def _write(self, step: Step) -> None:
        puts: dict[str, bytes | None] = {STATE_KEY: encode_tagged(step.state)}
        outgoing: list[Outgoing] = []
        for effect in step.effects:
            match effect:
                case do.Send():
                    outgoing += self._worker.outgoing(effect)
                case do.Forget(round_number):
                    self._stop_work()
                    puts |= forgotten(self._worker.journal, round_number)
                    puts |= self._worker.blocks.clear()
                case do.KeepMember(round_number, member):
                    puts[member_key(round_number)] = member
        self._worker.journal.transition(puts, outgoing)

    def _carry_out(self, effects: tuple[do.Effect, ...]) -> None:
        worker = self._worker
        for effect in effects:
            match effect:
                case do.Train(joined):
                    self._begin(joined.round, partial(worker.train, joined))
                case do.Prove(proving):
                    self._begin(proving.joined.round, partial(worker.prove, proving))
                case do.Contribute(submitted, verdicts):
                    contributing = partial(worker.contribute, submitted, verdicts)
                    self._begin(submitted.joined.round, contributing)
                case do.Answer(seated):
                    self._begin(seated.group.round, partial(worker.answer, seated))
                case do.CheckRecord(opened, record):
                    checking = partial(worker.check_record, opened, record)
                    self._begin(opened.submitted.joined.round, checking)
                case do.KeepModel(record):
                    self._newest = record
                    self._spawn(self._keep_model(record))
                case do.KeepReceipt(receipt):
                    worker.journal.note(
                        RECEIPT, receipt_key(receipt), encode(receipt), rolling=True
                    )
                case do.LogIncident(round_number, what):
                    if worker.journal.note(INCIDENT, f"{round_number}/{what}", rolling=True):
                        _logger.warning("round %d: %s", round_number, what)
                case do.Send():
                    worker.journal.transition({}, worker.outgoing(effect))
                case do.Forget() | do.KeepMember():
                    pass

    def _begin(
        self, round_number: Round, work: Callable[[], Coroutine[Any, Any, on.Event]]
    ) -> None:
        self._stop_work()
        self._pulse.busy(self._silence_s)
        self._work = self._spawn(self._persist(round_number, work))

    def _stop_work(self) -> None:
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()
        self._work = None
        self._pulse.idle()

    @property
    def _silence_s(self) -> float:
        """The longest a step may take without saying so: its child's limit and one download."""
        limits = self._worker.task.deadlines
        longest = max(limits.commit, limits.prove, limits.aggregate, limits.record)
        return longest + FETCH_SECONDS + GRACE_SECONDS

    async def _persist(
        self, round_number: Round, work: Callable[[], Coroutine[Any, Any, on.Event]]
    ) -> None:
        """Runs `work` until it has an outcome; what may pass is tried again."""
        while True:
            try:
                event = await work()
            except Transient as error:
                _logger.info("round %d: %s; trying again", round_number, error)
                self._pulse.beat()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except (Rejected, ProvingFailed) as error:
                event = on.GaveUp(round_number, str(error))
            self._pulse.idle()
            self.apply(event)
            return

    async def _keep_model(self, record: Cid) -> None:
        worker = self._worker
        try:
            model = await worker.model_after(record)
        except (Rejected, Transient) as error:
            _logger.warning("the new global model could not be fetched: %s", error)
            return
        if record != self._newest:
            return
        await self._publisher.publish(model)
        if isinstance(self.state, at.Idle):
            root, blocks = split_object(model)
            worker.journal.transition(worker.blocks.clear(blocks.keys()))
            self._on_model(root)


def _describe(state: at.State) -> tuple[str, int]:
    return type(state).__name__.lower(), machine.round_of(state)
