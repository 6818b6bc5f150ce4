"""What a validator does about rounds that have ended: verify, attest, or report and reject.

Order for every round: the outcome is on disk, and with it the report of a fault in the outbox;
then what was verified is pinned; then the vote is cast; then the outcome is settled. A round
that somebody else has settled meanwhile is left as it is.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from zkpot.check_record import CheckFailed
from zkpot.cid import Cid, object_cid_from_digest
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.ids import Digest, Round
from zkpot.record import Roster, SealedList, Verdicts, decode_object
from zkpot.verify import RoundTerms
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment, FaultReport, Submission
from zkpot_aggregator.audit import omission
from zkpot_aggregator.audit.rounds import (
    Progress,
    RoundAudit,
    drawn_samples,
    named_model,
    read_record,
)
from zkpot_aggregator.content.base import put_object
from zkpot_aggregator.ledger.base import LedgerConflict, LedgerReverted
from zkpot_aggregator.ledger.calls import Attest, RejectRound
from zkpot_aggregator.ledger.views import UNFINISHED, Phase, RoundView
from zkpot_aggregator.patience import patiently
from zkpot_aggregator.validate.hearing import Hearing
from zkpot_aggregator.validate.outcome import Outcome, Outcomes, Result
from zkpot_aggregator.validate.tools import Tools

_logger = logging.getLogger(__name__)

_MISSING_FOR = "missing-for"


class Settling:
    """Follows the chain from the task's creation; `step` does all that can be done now."""

    def __init__(
        self,
        tools: Tools,
        outcomes: Outcomes,
        hearing: Hearing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools
        self._outcomes = outcomes
        self._hearing = hearing
        self._clock = clock
        self._missed: tuple[Round, float] | None = None

    async def step(self) -> None:
        """Judges every round that has ended, and votes on it."""
        tools = self._tools
        for outcome in self._outcomes.unsettled:
            await self._vote(outcome)
        last = (await tools.chain.read(lambda ledger: ledger.task(tools.task_id))).last_round
        while (number := self._outcomes.next_round) <= last:
            view = await self._view(number)
            if view.phase in UNFINISHED:
                return
            judged = await patiently(partial(self._judge, view), f"round {number}")
            if judged is None:
                return
            _logger.info("round %d: %s", number, judged.result.name.lower())
            outgoing = () if judged.fault is None else (tools.fault(judged.fault),)
            self._outcomes.keep(judged, *outgoing)
            await self._vote(judged)
            tools.system.forget()

    # --- judging ----------------------------------------------------------------------------

    def _judge(self, view: RoundView) -> Outcome | None:
        """The outcome of a round that has ended; None if its objects may still come."""
        try:
            spent = self._outcomes.spent_before(view.round)
            drawn = tuple(drawn_samples(self._tools.task, view, spent))
        except CheckFailed as failure:
            return self._faulty(view, (), failure)
        if view.phase in (Phase.FAILED, Phase.REJECTED):
            return Outcome(view.round, Result.NO_RECORD, settled=True, drawn=drawn)
        record = Digest(view.record)
        try:
            parent = Digest(view.parent)
            tools = self._tools
            progress = self._outcomes.progress(view.round, parent, tools.task_id, tools.task)
        except Rejected as rejection:
            _logger.warning("round %d is not judged: %s", view.round, rejection)
            return Outcome(view.round, Result.UNFOUNDED, settled=True, drawn=drawn, record=record)
        try:
            return self._verified(view, drawn, progress)
        except CheckFailed as failure:
            if failure.reason is not Reason.NOT_FOUND:
                return self._faulty(view, drawn, failure)
            return self._missing(view, drawn, failure)

    def _verified(self, view: RoundView, drawn: tuple[int, ...], progress: Progress) -> Outcome:
        tools, get = self._tools, self._tools.library.of_closed
        audit = RoundAudit(tools.task_id, tools.task, tools.system, get, progress)
        audit.check_closed(view, drawn)
        try:
            tools.library.hold(object_cid_from_digest(view.record))
        except Rejected as rejection:
            raise CheckFailed("record", rejection) from rejection
        signed, record = read_record(Digest(view.record), get)
        roster = decode_object(Roster, get(record.roster))
        terms = RoundTerms(tools.task_id, tools.task, view.round, Digest(view.parent), roster)
        sealed = decode_object(SealedList, get(record.sealed)).open(roster)
        verdicts = decode_object(Verdicts, get(record.verdicts))
        self._hearing.begin(terms)
        for said in self._hearing.said(Commitment, view.round):
            omission.check_commitment_listed(terms, sealed, said, tools.system)
        for said in self._hearing.said(Submission, view.round):
            omission.check_submission_judged(terms, sealed, verdicts, said)
        return Outcome(
            view.round,
            Result.VERIFIED,
            settled=False,
            drawn=drawn,
            record=Digest(view.record),
            named=signed.record,
            model_after=record.model_after,
        )

    def _missing(
        self, view: RoundView, drawn: tuple[int, ...], failure: CheckFailed
    ) -> Outcome | None:
        """Objects that nobody has: a fault once the time to attest is over, unless it is final."""
        tools, record = self._tools, Digest(view.record)
        if view.phase is Phase.FINAL:
            model = named_model(record, tools.library.of_closed)
            return Outcome(
                view.round, Result.GONE, settled=True, drawn=drawn, record=record, model_after=model
            )
        if self._missing_for(view.round) < tools.task.deadlines.attest:
            _logger.warning("round %d cannot be verified yet: %s", view.round, failure)
            return None
        return self._faulty(view, drawn, failure)

    def _missing_for(self, number: Round) -> float:
        """Seconds in which we looked: neither those we were off, nor those a clock was set by."""
        journal, key, now = self._tools.journal, f"{_MISSING_FOR}/{number:08d}", self._clock()
        stored = journal.get(key)
        seconds = 0.0 if stored is None else float(stored)
        if self._missed is not None and self._missed[0] == number:
            seconds += now - self._missed[1]
            journal.transition({key: str(seconds).encode()})
        self._missed = number, now
        return seconds

    def _faulty(self, view: RoundView, drawn: tuple[int, ...], failure: CheckFailed) -> Outcome:
        """Makes the report, an object that a pin keeps together with its evidence."""
        tools, record = self._tools, Digest(view.record)
        evidence = self._evidence(record, failure)
        report = FaultReport(
            tools.task_id,
            view.round,
            record,
            failure.check,
            failure.reason,
            failure.detail[:200],
            failure.device,
            evidence,
        )
        envelope = sign(report, tools.key)
        content = tools.library.shelf.content
        cid = put_object(content, envelope, evidence)
        try:
            tools.library.hold(cid)
            content.pin(cid)
        except Rejected as rejection:
            _logger.warning("the evidence of a fault cannot all be pinned: %s", rejection)
        _logger.error("round %d is faulty: %s", view.round, failure)
        return Outcome(
            view.round, Result.FAULTY, settled=False, drawn=drawn, record=record, fault=envelope
        )

    def _evidence(self, record: Digest, failure: CheckFailed) -> tuple[Cid, ...]:
        content = self._tools.library.shelf.content
        if failure.check in omission.OMISSIONS:
            assert failure.device is not None
            kind = Commitment if failure.check == omission.COMMITMENT else Submission
            said = self._hearing.said_by(kind, failure.device)
            parts = [said.envelope, *([said.proof] if said.proof else [])]
            return tuple(put_object(content, part) for part in parts)
        return () if failure.reason is Reason.NOT_FOUND else (object_cid_from_digest(record),)

    # --- voting -----------------------------------------------------------------------------

    async def _vote(self, outcome: Outcome) -> None:
        """Casts the vote, once for ever; returns when it stands on chain, or cannot any more."""
        if outcome.settled:
            return
        tools = self._tools
        assert outcome.record is not None
        call: Attest | RejectRound = RejectRound(tools.task_id, outcome.round, outcome.record)
        if outcome.result is Result.VERIFIED:
            root = object_cid_from_digest(outcome.record)
            content = tools.library.shelf.content
            await patiently(partial(content.pin, root), "the pin of a verified record")
            call = Attest(tools.task_id, outcome.round, outcome.record)
        try:
            await tools.chain.submit(call)
        except (LedgerReverted, LedgerConflict) as error:
            if isinstance(error, LedgerReverted) and error.word == "validator":
                raise Fatal(
                    ExitCode.CONFIG, "the account is none of the task's validators"
                ) from error
            _logger.warning("round %d is settled without our vote: %s", outcome.round, error)
            rejected = (await self._view(outcome.round)).phase is Phase.REJECTED
            if rejected and outcome.result is Result.VERIFIED:
                outcome = replace(outcome, result=Result.NO_RECORD)
        self._outcomes.settle(outcome)

    async def _view(self, number: Round) -> RoundView:
        task = self._tools.task_id
        return await self._tools.chain.read(lambda ledger: ledger.round(task, number))
