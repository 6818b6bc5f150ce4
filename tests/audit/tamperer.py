"""An operator who cheats after the fact: owns the operator's keys and the chain, not the devices'.

It rewrites what it likes, re-hashes, re-signs with its own key, and mines the chain anew from
the block before the one it wants to change.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from zkpot.batch import draw
from zkpot.cid import Cid, cid_digest, object_cid_from_digest
from zkpot.ids import Round, TaskId
from zkpot.keys import load_key_file
from zkpot.record import Record, Roster, SealedList, SignedRecord, Verdict, Verdicts, decode_object
from zkpot.task import Task, decode_task, manifest_cid
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import RecordSignature
from zkpot_aggregator.audit.audit import Sources, audit
from zkpot_aggregator.audit.report import AuditReport
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.calls import (
    CloseRound,
    DrawBeacon,
    OpenRound,
    SealCommitments,
    device_word,
)
from zkpot_aggregator.ledger.embedded import LOG_NAME, EmbeddedLedger
from zkpot_aggregator.ledger.views import (
    CommitmentsSealed,
    Event,
    RoundClosed,
    RoundOpened,
    RoundView,
)
from zkpot_aggregator.publisher import load_pool
from zkpot_aggregator.ui.audit import load_system
from zkpot_aggregator.ui.directory import open_directory

T = TypeVar("T")


class Tamperer:
    """Works on a directory of its own; `views` and `events` are those of the honest chain."""

    def __init__(
        self, directory: Path, views: dict[int, RoundView], events: Sequence[Event]
    ) -> None:
        self.directory = directory
        self.layout = Layout(directory / "aggregator" / "state")
        self.operator = load_key_file(directory / "aggregator" / "operator.key")
        self.content = DirectoryStore(self.layout.content)
        self.task_id = TaskId(bytes.fromhex(self.layout.task.read_text().strip()))
        self.task: Task = decode_task(get_object(self.content, manifest_cid(self.task_id)))
        self.views = views
        self._events = events

    # --- reading ----------------------------------------------------------------------------

    def get(self, kind: type[T], cid: Cid) -> T:
        """An object of the store."""
        return decode_object(kind, get_object(self.content, cid))

    def signed(self, number: int) -> SignedRecord:
        """A round's signed record."""
        return self.get(SignedRecord, object_cid_from_digest(self.views[number].record))

    def record(self, number: int) -> Record:
        """A round's record."""
        return self.get(Record, self.signed(number).record)

    def verdicts(self, number: int) -> list[Verdict]:
        """A round's verdicts."""
        return list(self.get(Verdicts, self.record(number).verdicts).verdicts)

    def sealed(self, number: int) -> SealedList:
        """A round's commitments."""
        return self.get(SealedList, self.record(number).sealed)

    def roster(self, number: int) -> Roster:
        """A round's roster."""
        return self.get(Roster, self.record(number).roster)

    # --- writing ----------------------------------------------------------------------------

    def put(self, item: Any, references: Sequence[Cid] = ()) -> Cid:
        """Stores an object."""
        return put_object(self.content, encode(item), references)

    def rewind(self, number: int, kind: type[Event]) -> None:
        """Drops the block that made this event of the round, and all later ones."""
        block = next(
            event.block
            for event in self._events
            if isinstance(event, kind) and getattr(event, "round", 0) == number
        )
        path = self.layout.chain / LOG_NAME
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:block]))

    def commit(self, number: int, record: Record, **on_chain: Any) -> None:
        """Signs `record` as operator, keeps the leader's old signature, closes the round on it."""
        old = self.signed(number)
        cid = self.put(record, record.references)
        message = RecordSignature(self.task_id, Round(number), cid)
        signed = SignedRecord(cid, old.leader_signature, sign(message, self.operator))
        self.close(number, self.put(signed, [cid]), record, **on_chain)

    def close(self, number: int, signed: Cid, record: Record, **on_chain: Any) -> None:
        """Closes the round on chain with this signed record, in place of the honest one."""
        self.rewind(number, RoundClosed)
        self._submit_close(number, signed, record, **on_chain)

    def _submit_close(self, number: int, signed: Cid, record: Record, **on_chain: Any) -> None:
        call = CloseRound(
            self.task_id,
            Round(number),
            cid_digest(signed),
            device_word(record.leader),
            record.count,
            self.task.batch_size,
        )
        with EmbeddedLedger.open(self.layout.chain) as ledger:
            ledger.submit(replace(call, **on_chain))

    def reseal(self, number: int, listed: SealedList, roster: Roster | None = None) -> Record:
        """Seals another list, and opens on another roster if one is given; draws and reveals.

        Returns the honest record adapted to that; nothing is closed yet.
        """
        record = replace(self.record(number), sealed=self.put(listed))
        view = self.views[number]
        with_roster = roster is not None
        self.rewind(number, RoundOpened if with_roster else CommitmentsSealed)
        with EmbeddedLedger.open(self.layout.chain) as ledger:
            if roster is not None:
                record = replace(record, roster=self.put(roster))
                ledger.submit(OpenRound(self.task_id, Round(number), view.parent, roster.root))
            count = len(listed.envelopes)
            ledger.submit(SealCommitments(self.task_id, Round(number), listed.root, count))
            height = ledger.round(self.task_id, Round(number)).draw_height
            ledger.wait_for_block(height + 1, 60)
            ledger.submit(DrawBeacon(self.task_id, Round(number)))
            beacon = ledger.round(self.task_id, Round(number)).beacon
        spent: set[int] = set()
        for earlier in range(1, number):
            spent |= set(
                draw(self.views[earlier].beacon, self.task.pool.size, self.task.batch_size, spent)
            )
        indices = draw(beacon, self.task.pool.size, self.task.batch_size, spent)
        return replace(record, beacon=beacon, batch=self.reveal(indices))

    def finish(self, number: int, record: Record) -> None:
        """Closes a resealed round."""
        cid = self.put(record, record.references)
        message = RecordSignature(self.task_id, Round(number), cid)
        signature = sign(message, self.operator)
        signed = SignedRecord(cid, self.signed(number).leader_signature, signature)
        self._submit_close(number, self.put(signed, [cid]), record)

    def reveal(self, indices: Sequence[int]) -> Cid:
        """A reveal of samples of the real pool."""
        return put_object(self.content, load_pool(self.layout.pool).reveal(list(indices)))

    def change_verdicts(
        self, number: int, change: Callable[[list[Verdict]], list[Verdict]], **fields: Any
    ) -> None:
        """Commits the record with other verdicts."""
        verdicts = self.put(Verdicts(tuple(change(self.verdicts(number)))))
        self.commit(number, replace(self.record(number), verdicts=verdicts, **fields))

    # --- the outcome ------------------------------------------------------------------------

    def audit(self) -> AuditReport:
        """What the audit says of the directory now."""
        opened = open_directory(self.directory)
        return audit(opened.task_id, Sources(opened.ledger, opened.content, load_system))
