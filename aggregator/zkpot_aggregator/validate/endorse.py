"""What a validator does while a round runs: it checks what is announced, and endorses it.

A round's seal, draw and accepted set are endorsed once they are found right, its record once
this validator's attestation stands on chain. For each phase of a round one announcement is
endorsed and no other, whatever is announced later; that is on disk before it is sent.
"""

import asyncio
import logging

from zkpot.check_record import CheckFailed
from zkpot.endorsement import ENDORSED, endorse
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import Digest
from zkpot.journal import Outgoing
from zkpot.wire.codec import decode, encode
from zkpot.wire.messages import Announcement, Commitment, Endorsement, Phase, Submission
from zkpot_aggregator.audit import omission
from zkpot_aggregator.ledger.views import UNFINISHED, RoundView
from zkpot_aggregator.ledger.views import Phase as OnChain
from zkpot_aggregator.validate.announced import AnnouncedCheck
from zkpot_aggregator.validate.hearing import Hearing
from zkpot_aggregator.validate.outcome import Outcomes, Result
from zkpot_aggregator.validate.tools import Tools

_logger = logging.getLogger(__name__)

_PREFIX = "endorsed/"
WITHHELD = "withheld"
"""Journal events: announcements that were not endorsed, and why."""


class Endorsing:
    """Looks at the latest announcement; `step` does about it what can be done now."""

    def __init__(self, tools: Tools, outcomes: Outcomes, hearing: Hearing) -> None:
        self._tools = tools
        self._outcomes = outcomes
        self._hearing = hearing
        self._latest: Announcement | None = None
        self._done: Announcement | None = None

    def announced(self, announcement: Announcement, *, kept: bool) -> None:
        """The aggregator's announcement; `kept`: the broker had it from before."""
        self._latest = announcement
        seconds = {
            Phase.COMMIT: self._tools.task.deadlines.commit,
            Phase.PROVE: self._tools.task.deadlines.prove,
        }.get(announcement.phase)
        if seconds is not None:
            self._hearing.announced(announcement.round, announcement.phase, seconds, kept=kept)

    def endorsements(self) -> list[Outgoing]:
        """The latest of each phase, published again whenever the link comes back."""
        stored = self._tools.journal.items(_PREFIX)
        return [
            self._tools.endorsement(decode(Endorsement, data, limit=1024)) for _, data in stored
        ]

    async def step(self) -> None:
        """Checks and endorses the latest announcement, unless that is done."""
        latest = self._latest
        if latest is None:
            return
        if latest.phase is Phase.CLOSED:
            self._endorse_record(latest)
        elif latest.round == self._outcomes.next_round:
            await self._running(latest)

    def _endorse_record(self, latest: Announcement) -> None:
        outcome = self._outcomes.of(latest.round)
        if outcome is None or not outcome.settled or outcome.result is not Result.VERIFIED:
            return
        if latest == self._done:
            return
        self._done = latest
        if latest.record == outcome.named:
            self._endorse(latest)
        else:
            self._withhold(latest, Rejected(Reason.CHAIN_MISMATCH, "another record than on chain"))

    async def _running(self, latest: Announcement) -> None:
        if latest == self._done and not self._hearing.undecided:
            return
        tools, asked = self._tools, self._hearing.now
        view = await tools.chain.read(lambda ledger: ledger.round(tools.task_id, latest.round))
        if view.phase not in UNFINISHED:
            return
        try:
            await asyncio.to_thread(self._check, latest, view, asked)
        except Transient as error:
            _logger.info("round %d: %s", latest.round, error)
            return
        except Rejected as rejection:
            if rejection.reason is Reason.NOT_FOUND:
                _logger.info("round %d: waiting for %s", latest.round, rejection)
                return
            self._withhold(latest, rejection)
        else:
            if latest != self._done and latest.phase in ENDORSED:
                self._endorse(latest)
        self._done = latest

    def _check(self, latest: Announcement, view: RoundView, asked: float) -> None:
        tools = self._tools
        parent = Digest(view.parent)
        progress = self._outcomes.progress(latest.round, parent, tools.task_id, tools.task)
        get = tools.library.of_running
        check = AnnouncedCheck(tools.task_id, tools.task, view, progress, get, tools.system)
        self._hearing.begin(check.roster(latest))
        if view.phase is OnChain.OPEN:
            self._hearing.note_in_time(Phase.COMMIT, asked)
        if latest.phase is Phase.PROVE:
            self._hearing.note_in_time(Phase.PROVE, asked)
        if latest == self._done or latest.phase not in ENDORSED:
            return
        checked = check.run(latest)
        for said in self._hearing.said(Commitment, latest.round):
            omission.check_commitment_listed(checked.terms, checked.sealed, said, tools.system)
        if checked.verdicts is not None:
            for said in self._hearing.said(Submission, latest.round):
                omission.check_submission_judged(
                    checked.terms, checked.sealed, checked.verdicts, said
                )

    def _endorse(self, announcement: Announcement) -> None:
        tools, message = self._tools, endorse(announcement)
        key = f"{_PREFIX}{announcement.phase:02d}"
        stored = tools.journal.get(key)
        before = None if stored is None else decode(Endorsement, stored, limit=1024)
        if before is not None and before.round >= message.round and before != message:
            conflict = Rejected(Reason.EQUIVOCATION, "another was endorsed for this phase")
            self._withhold(announcement, conflict)
            return
        tools.journal.transition({key: encode(message)}, [tools.endorsement(message)])
        _logger.info("endorsed %s of round %d", announcement.phase.name, announcement.round)

    def _withhold(self, announcement: Announcement, why: Rejected) -> None:
        check = why.check if isinstance(why, CheckFailed) else announcement.phase.name.lower()
        key = f"{announcement.round}/{check}/{endorse(announcement).announcement.hex()}"
        if self._tools.journal.note(WITHHELD, key, str(why).encode()):
            _logger.error("not endorsed: round %d, %s: %s", announcement.round, check, why)
