"""Carries out what the round machine decides, on the aggregator.

Order for every event: objects are in the content store, the transition and its outgoing
messages are on disk, then its other effects begin. Rounds follow one another until the
task has had them all.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, get_args

from zkpot.cid import MAX_OBJECT_BYTES
from zkpot.ids import Round, device_text
from zkpot.journal import Outgoing
from zkpot.record import Roster, decode_object
from zkpot.timing import note_span
from zkpot.verify import ProofTerms, RoundTerms
from zkpot.wire import topics
from zkpot.wire.codec import decode, decode_tagged, encode, encode_tagged
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Receipt, RecordProposal
from zkpot.wire.topics import Kind
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine
from zkpot_aggregator.round import states as at
from zkpot_aggregator.strikes import Strikes

_logger = logging.getLogger(__name__)

STATE_KEY = "state"
STRIKES_KEY = "strikes"
REJECTION = "rejection"
"""Journal events: every rejected message, once."""

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task whose failure ends the service, like `TaskGroup.create_task`."""


_TYPE_TO_KIND = {Receipt: Kind.RECEIPT, RecordProposal: Kind.RECORD}


class Driver:
    """The aggregator's rounds, from its journal; `apply` feeds the current one."""

    def __init__(
        self,
        worker: GroupWorker,
        roster: Roster,
        spawn: Spawn,
        on_state: Callable[[at.State], None],
    ) -> None:
        self._worker = worker
        self._roster = roster
        self._spawn = spawn
        self._on_state = on_state
        self._tasks: set[asyncio.Task[None]] = set()
        self._since = time.time()
        self._announced: Outgoing | None = None
        self._terms: RoundTerms | None = None
        self.finished = asyncio.Event()
        stored = worker.journal.get(STATE_KEY)
        self.state: at.State | None = (
            None if stored is None else decode_tagged(get_args(at.State), stored)
        )

    async def start(self) -> None:
        """Goes on where the last process stopped, or opens the first round.

        What the state says on entry is said again: the broker may have forgotten it, and not
        every device may have heard it.
        """
        if self.state is None or isinstance(self.state, at.Ended):
            await self._next_round()
            return
        self._terms = self._terms_of(self.state.start)
        _logger.info("resuming: %s, round %d", *_describe(self.state))
        effects = machine.resume(self._terms, self.state)
        self._worker.journal.transition({}, self._outgoing(effects))
        self._carry_out(effects)

    def announcement(self) -> list[Outgoing]:
        """The latest announcement, published again whenever the link comes back."""
        return [] if self._announced is None else [self._announced]

    def apply(self, event: on.Event) -> None:
        """One event: decide, write, then act."""
        before = self.state
        if before is None or self._terms is None:
            return
        step = machine.step(self._terms, before, event)
        if step.state == before and not step.effects:
            return
        self._enter(step)

    def _enter(self, step: machine.Step) -> None:
        worker, before = self._worker, self.state
        ends = isinstance(step.state, at.Ended) and not isinstance(before, at.Ended)
        for effect in step.effects:
            if isinstance(effect, do.StoreObject):
                put_object(worker.content, effect.data, effect.references)
        outgoing = self._outgoing(step.effects)
        puts = self._strikes_after(step, ends=ends)
        if step.state is not before:
            # It is megabytes in a large round: what is refused must not have it written again.
            puts[STATE_KEY] = encode_tagged(step.state)
        worker.journal.transition(puts, outgoing)
        self.state = step.state
        if before is None or step.state.start != before.start:
            self._terms = self._terms_of(step.state.start)
        if type(step.state) is not type(before):
            self._note_time(before)
            _logger.info("%s, round %d", *_describe(step.state))
            self._on_state(step.state)
            if isinstance(step.state, at.Failing):
                # What the round was waiting for must not come true behind its failure.
                self._stop_tasks()
        self._carry_out(step.effects)
        if ends:
            self._begin(self._next_round())

    def _outgoing(self, effects: tuple[do.Effect, ...]) -> list[Outgoing]:
        key, outgoing = self._worker.key, list[Outgoing]()
        for effect in effects:
            match effect:
                case do.Announce(announcement):
                    topic = topics.task_round(announcement.task)
                    payload = sign(announcement, key)
                    self._announced = Outgoing(topic, payload, retain=True, replaces=topic)
                    outgoing.append(self._announced)
                case do.Send(device, message):
                    kind = _TYPE_TO_KIND.get(type(message), Kind.SECURE)
                    outgoing.append(Outgoing(topics.down(device, kind), sign(message, key)))
        return outgoing

    def _carry_out(self, effects: tuple[do.Effect, ...]) -> None:
        worker, terms, state = self._worker, self._terms, self.state
        assert terms is not None
        for effect in effects:
            match effect:
                case do.LogRejection():
                    self._log_rejection(effect)
                case do.StartTimer(timer, seconds):
                    self._begin(self._timer(terms.round, timer, seconds))
                case do.OpenOnChain():
                    self._work(worker.open_round(terms))
                case do.CheckCommitment(envelope):
                    self._work(worker.check_commitment(terms, envelope))
                case do.SealOnChain(root, count):
                    self._work(worker.seal(terms, root, count))
                case do.DrawOnChain(draw_height):
                    self._work(worker.draw(terms, draw_height))
                case do.RevealBatch(beacon):
                    self._work(worker.reveal(terms, self._start.model, beacon))
                case do.CheckSubmission(envelope):
                    self._work(worker.check_submission(self._proof_terms(), envelope))
                case do.CheckOpening(envelope):
                    self._check_opening(envelope)
                case do.SumModels() if isinstance(state, at.Summing):
                    self._work(worker.sum(terms, state))
                case do.FetchVector(envelope) if isinstance(state, at.Masking):
                    self._work(worker.fetch_vector(terms, state, envelope))
                case do.OpenRelease(envelope):
                    self._work(worker.open_release(terms, envelope))
                case do.UnmaskGroup(index) if isinstance(state, at.Masking):
                    self._work(worker.unmask(terms, state, index))
                case do.MergeSums() if isinstance(state, at.Merging):
                    self._work(worker.merge(terms, state))
                case do.CloseOnChain(record, signature, total):
                    self._work(worker.close(terms, record, signature, total))
                case do.AwaitValidators():
                    self._work(worker.await_validators(terms))
                case do.FailOnChain(failure):
                    self._work(worker.fail(terms, failure))
                case _:
                    pass

    # --- rounds -----------------------------------------------------------------------------

    async def _next_round(self) -> None:
        worker, task = self._worker, self._worker.handle.task
        parent, model = await worker.head()
        number = Round(1 if self.state is None else self._start.round + 1)
        self._stop_tasks()
        worker.intake.clear()
        if number > task.rounds:
            self.finished.set()
            return
        roster = put_object(worker.content, encode(self._strikes().without(self._roster)))
        start = at.Start(worker.handle.id, number, parent, model, roster)
        self._enter(machine.begin(start))

    def _terms_of(self, start: at.Start) -> RoundTerms:
        roster = decode_object(Roster, get_object(self._worker.content, start.roster))
        handle = self._worker.handle
        return RoundTerms(handle.id, handle.task, start.round, start.parent, roster)

    def _strikes(self) -> Strikes:
        stored = self._worker.journal.get(STRIKES_KEY)
        return Strikes() if stored is None else decode(Strikes, stored, limit=MAX_OBJECT_BYTES)

    def _strikes_after(self, step: machine.Step, *, ends: bool) -> dict[str, bytes]:
        """What is counted in a step, and judged with the one that `ends` the round: no other."""
        counted = [effect for effect in step.effects if isinstance(effect, do.CountStrikes)]
        if not counted and not ends:
            return {}
        before = strikes = self._strikes()
        for effect in counted:
            strikes = strikes.count(effect.spoilt, any_is_good=effect.any_is_good)
        if ends:
            minimum = self._worker.handle.task.minimum_devices
            strikes = strikes.judge(self._roster.public_keys, minimum)
        return {} if strikes == before else {STRIKES_KEY: encode(strikes)}

    @property
    def _start(self) -> at.Start:
        assert self.state is not None
        return self.state.start

    def _proof_terms(self) -> ProofTerms:
        state, terms, worker = self.state, self._terms, self._worker
        assert terms is not None
        assert isinstance(state, at.Proving)
        return ProofTerms(
            terms,
            worker.sealed(terms, state.sealed.cid),
            state.drawn.beacon,
            worker.batch(state.drawn.batch),
            state.drawn.threshold,
        )

    def _check_opening(self, envelope: bytes) -> None:
        state, terms, worker = self.state, self._terms, self._worker
        assert terms is not None
        assert isinstance(state, at.Aggregating)
        device = next(signed.device for signed in state.checking if signed.envelope == envelope)
        commitment = worker.sealed(terms, state.sealed.cid)[device].commitment
        self._work(worker.check_opening(commitment, terms, envelope))

    # --- tasks ------------------------------------------------------------------------------

    def _work(self, work: Coroutine[Any, Any, on.Event]) -> None:
        async def carry_on() -> None:
            self.apply(await work)

        # A task that is cancelled before it began would leave its work hanging.
        self._begin(carry_on()).add_done_callback(lambda _: work.close())

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _timer(self, number: Round, timer: str, seconds: int) -> None:
        await asyncio.sleep(seconds)
        if self._terms is not None and self._terms.round == number:
            self.apply(on.DeadlinePassed(timer))

    def _stop_tasks(self) -> None:
        """Ends timers and checks that a finished round has left behind."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    def _log_rejection(self, effect: do.LogRejection) -> None:
        device = "" if effect.device is None else device_text(effect.device)
        assert self._terms is not None
        key = f"{self._terms.round}/{device}/{effect.code}/{effect.envelope.hex()}"
        facts: dict[str, Any] = {"device": device, "code": effect.code, "detail": effect.detail}
        if effect.group is not None:
            facts["group"] = effect.group
        value = json.dumps(facts)
        if self._worker.journal.note(REJECTION, key, value.encode()):
            _logger.warning("rejected %s from %s: %s", effect.code, device or "?", effect.detail)

    def _note_time(self, left: at.State | None) -> None:
        now = time.time()
        if left is not None:
            phase = f"phase-{type(left).__name__.lower()}"
            note_span(self._worker.journal, left.start.round, phase, self._since, now)
        self._since = now


def _describe(state: at.State) -> tuple[str, int]:
    return type(state).__name__.lower(), state.start.round
