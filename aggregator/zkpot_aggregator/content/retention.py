"""For how long records stay pinned: for ever, or while they are among the last rounds.

What the chain needs is never dropped: the task's manifest, which has its own pin, and the
record at the head, from which the next round starts.
"""

import logging

from zkpot.cid import object_cid_from_digest
from zkpot.errors import Transient
from zkpot.ids import Round, TaskId
from zkpot_aggregator.content.base import ContentStore
from zkpot_aggregator.ledger.base import Ledger
from zkpot_aggregator.ledger.views import ZERO

_logger = logging.getLogger(__name__)


def prune(
    ledger: Ledger, content: ContentStore, task: TaskId, newest: Round, keep_rounds: int
) -> int:
    """Unpins the records of the rounds up to `newest - keep_rounds`; returns how many.

    Goes back until a record is not pinned any more: those before it were dropped earlier.
    """
    head, pins = ledger.task(task).head, content.pins()
    dropped = 0
    for number in range(newest - keep_rounds, 0, -1):
        record = ledger.round(task, Round(number)).record
        if record in (ZERO, head):
            continue
        root = object_cid_from_digest(record)
        if root not in pins:
            break
        try:
            content.unpin(root)
        except Transient as error:
            _logger.warning("round %d stays pinned until the next round: %s", number, error)
            break
        dropped += 1
    return dropped
