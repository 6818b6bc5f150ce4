"""What a validator found in each round, on disk, and what that means for the next one.

One entry per round, in order. An entry is written before its vote is cast, and again once the
vote stands on chain, so that a process that dies in between votes once.
"""

from dataclasses import dataclass, replace
from enum import IntEnum, unique
from typing import Annotated

from zkpot.batch import MAX_BATCH
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest, Round, TaskId
from zkpot.journal import Journal, Outgoing
from zkpot.record import EnvelopeBytes
from zkpot.task import Task
from zkpot.wire.codec import Max, decode, encode
from zkpot_aggregator.audit.rounds import Progress

_PREFIX = "outcome/"
_LIMIT = 1 << 20


@unique
class Result(IntEnum):
    """What became of a round, for this validator."""

    NO_RECORD = 1
    """It failed, or was rejected before this validator could attest it."""
    VERIFIED = 2
    FAULTY = 3
    GONE = 4
    """Final, and its objects are gone: others have vouched for it."""
    UNFOUNDED = 5
    """Built on a record that this validator does not vouch for; it says nothing about it."""


@dataclass(frozen=True)
class Outcome:
    """A round that has ended. `settled`: nothing remains to be done about it.

    `record` is what stood on chain, `named` the record itself, `drawn` the samples that were
    spent. `fault` is this validator's report, if it made one.
    """

    round: Round
    result: Result
    settled: bool
    drawn: Annotated[tuple[int, ...], Max(MAX_BATCH)]
    record: Digest | None = None
    named: Cid | None = None
    model_after: Cid | None = None
    fault: EnvelopeBytes | None = None


class Outcomes:
    """The journal's entries."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        stored = (decode(Outcome, data, limit=_LIMIT) for _, data in journal.items(_PREFIX))
        self._outcomes = {outcome.round: outcome for outcome in stored}

    @property
    def next_round(self) -> Round:
        """The first round without an outcome."""
        return Round(len(self._outcomes) + 1)

    def of(self, number: Round) -> Outcome | None:
        """The outcome of a round, if there is one."""
        return self._outcomes.get(number)

    @property
    def unsettled(self) -> tuple[Outcome, ...]:
        """Those about which something remains to be done, oldest first."""
        return tuple(each for _, each in sorted(self._outcomes.items()) if not each.settled)

    def keep(self, outcome: Outcome, *outgoing: Outgoing) -> None:
        """Writes an outcome, and queues what is said about it, in one transaction."""
        key = f"{_PREFIX}{outcome.round:08d}"
        self._journal.transition({key: encode(outcome)}, outgoing)
        self._outcomes[outcome.round] = outcome

    def settle(self, outcome: Outcome, *outgoing: Outgoing) -> None:
        """Notes that nothing remains to be done."""
        self.keep(replace(outcome, settled=True), *outgoing)

    def spent_before(self, number: Round) -> set[int]:
        """The samples that the rounds before this one have drawn."""
        return {
            index
            for outcome in self._outcomes.values()
            if outcome.round < number
            for index in outcome.drawn
        }

    def progress(self, number: Round, parent: Digest, task_id: TaskId, task: Task) -> Progress:
        """What round `number` starts from.

        Raises `Rejected` (RECORD_LINK) if its parent is not a record to vouch for.
        """
        spent = self.spent_before(number)
        if parent == Digest(task_id):
            return Progress(parent, task.genesis, spent)
        for outcome in self._outcomes.values():
            if outcome.record == parent and outcome.result in (Result.VERIFIED, Result.GONE):
                return Progress(parent, outcome.model_after, spent)
        raise Rejected(Reason.RECORD_LINK, f"round {number} is built on {parent.hex()[:16]}")
