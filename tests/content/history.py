"""A task's rounds on a ledger, with records that have the form of real ones in a store.

Run as a program it prunes such a history and dies at the n-th file that is deleted.
"""

import os
import sys
from pathlib import Path

from zkpot.cid import Cid, cid_digest, is_node, parse_manifest
from zkpot.ids import Round, TaskId, digest
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.content.retention import PrunedStore, prune
from zkpot_aggregator.ledger.calls import (
    Address,
    CloseRound,
    CreateTask,
    DrawBeacon,
    FailRound,
    OpenRound,
    SealCommitments,
)
from zkpot_aggregator.ledger.memory import MemoryLedger

GENESIS = bytes(300_000)
"""Three blocks."""


class History:
    """`number_to_root` holds the pinned record of every closed round."""

    def __init__(self, store: PrunedStore, *, validators: tuple[Address, ...] = ()) -> None:
        self.ledger = MemoryLedger()
        self.store = store
        self.model = put_object(store, GENESIS)
        self.manifest = put_object(store, b"manifest", [self.model])
        store.pin(self.manifest)
        self.task = TaskId(cid_digest(self.manifest))
        self.number_to_root: dict[int, Cid] = {}
        self.ledger.submit(CreateTask(self.task, 1, validators, len(validators)))

    def round(self) -> Cid:
        """One more closed round; its record is pinned before it stands on the ledger."""
        number = self._open()
        self.ledger.submit(SealCommitments(self.task, number, digest("sealed"), 3))
        self.ledger.wait_for_block(self.ledger.round(self.task, number).draw_height + 1, 1)
        self.ledger.submit(DrawBeacon(self.task, number))
        model = put_object(self.store, f"model after {number}".encode())
        verdicts = put_object(self.store, f"verdicts of {number}".encode())
        references = [self.model, verdicts, model]
        record = put_object(self.store, f"record of {number}".encode(), references)
        root = put_object(self.store, f"signatures of {number}".encode(), [record])
        self.store.pin(root)
        record_digest = cid_digest(root)
        self.ledger.submit(CloseRound(self.task, number, record_digest, b"l" * 32, 3, 4))
        self.model, self.number_to_root[number] = model, root
        return root

    def failed_round(self) -> None:
        """A round whose objects nobody pins."""
        number = self._open()
        put_object(self.store, f"commitments of failed {number}".encode())
        self.ledger.submit(FailRound(self.task, number, 1))

    def prune(self, keep_rounds: int) -> int:
        newest = self.ledger.task(self.task).last_round
        return prune(self.ledger, self.store, self.task, newest, keep_rounds)

    def _open(self) -> Round:
        view = self.ledger.task(self.task)
        number = Round(view.last_round + 1)
        self.ledger.submit(OpenRound(self.task, number, view.head, b"r" * 32))
        return number


def whole(store: PrunedStore, root: Cid) -> bool:
    """Whether an object and all below it are there; raises `Rejected` for a damaged one."""
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        if not store.has(cid):
            return False
        if is_node(cid):
            get_object(store, cid)
            waiting += parse_manifest(cid, store.get(cid)).references
    return True


def long_history(folder: Path) -> History:
    """Twelve rounds, always the same, of which the third and the last failed."""
    history = History(DirectoryStore(folder))
    for number in range(1, 13):
        if number in (3, 12):
            history.failed_round()
        else:
            history.round()
    return history


def prune_and_die(folder: Path, keep_rounds: int, deletions: int) -> None:
    """Prunes a `long_history`; the process ends at once before deletion `deletions + 1`."""
    history = long_history(folder)
    left = deletions

    def count(event: str, _arguments: object) -> None:
        nonlocal left
        if event == "os.remove":
            if left == 0:
                os._exit(9)
            left -= 1

    sys.addaudithook(count)
    history.prune(keep_rounds)


if __name__ == "__main__":
    prune_and_die(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
