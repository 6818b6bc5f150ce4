"""For how long records stay: for ever, or while they are among the last rounds.

What the chain needs is never dropped: the task's manifest, which has its own pin, the record
at the head, from which the next round starts, and those that validators may still make the
head again by rejecting what came after. Records are first unpinned, then blocks that no pin
reaches are deleted. Either may be cut off at any point: the next pruning goes over both again.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from zkpot.cid import object_cid_from_digest
from zkpot.errors import Transient
from zkpot.ids import Digest, Round, TaskId
from zkpot_aggregator.content.base import ContentStore
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.views import Event, RoundAttested, RoundClosed, RoundOpened, TaskView

_logger = logging.getLogger(__name__)


class PrunedStore(ContentStore, Protocol):
    """A store of our own, whose blocks go with the pins that held them."""

    def collect_garbage(self) -> int:
        """Deletes blocks that no pin reaches, but none put meanwhile; returns how many.

        Nothing that is to be pinned may lie there unpinned from before. Raises `Rejected` if
        a pinned manifest is missing or damaged, and deletes nothing then.
        """


def prune(
    ledger: Ledger, content: PrunedStore, task: TaskId, newest: Round, keep_rounds: int
) -> int:
    """Drops the records of the rounds up to `newest - keep_rounds`; returns how many.

    To be called between rounds. A store that is away delays it to the next call. Raises
    `Transient` if the ledger is away, `Rejected` if the store is damaged.
    """
    # In this order: no record is at the head that the events do not know.
    view, events = ledger.task(task), ledger.events(task)
    needed = set(_needed(view, events))
    pins = content.pins()
    old = [
        root
        for event in events
        if isinstance(event, RoundClosed) and event.round <= newest - keep_rounds
        if event.record not in needed and (root := object_cid_from_digest(event.record)) in pins
    ]
    dropped = 0
    try:
        for root in old:
            content.unpin(root)
            dropped += 1
        deleted = content.collect_garbage()
        _logger.info("dropped %d old records and %d blocks", dropped, deleted)
    except Transient as error:
        _logger.warning("what else is old stays until the next round: %s", error)
    return dropped


def _needed(task: TaskView, events: Sequence[Event]) -> Iterator[bytes]:
    """The head and, back to the last final record, what validators may return it to."""
    record_to_round = {e.record: e.round for e in events if isinstance(e, RoundClosed)}
    round_to_parent = {e.round: e.parent for e in events if isinstance(e, RoundOpened)}
    final = {e.round for e in events if isinstance(e, RoundAttested) and e.final}
    record = task.head
    while record in record_to_round:
        yield record
        number = record_to_round[record]
        if not task.validators or number in final:
            return
        record = Digest(round_to_parent[number])
