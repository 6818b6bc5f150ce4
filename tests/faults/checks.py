"""What must hold after a world has ended, whatever was done to it; each raises AssertionError."""

from collections import Counter

from tests.faults.world import World

from zkpot.cid import Cid, object_cid_from_digest
from zkpot.errors import Failure
from zkpot.ids import Digest, Round, TaskId
from zkpot.journal import Journal
from zkpot.record import Record, SealedList, SignedRecord, Verdicts, decode_object
from zkpot.wire.codec import decode
from zkpot.wire.envelope import envelope_digest
from zkpot.wire.messages import Receipt
from zkpot_agent.config import JOURNAL_FILE
from zkpot_agent.notes import RECEIPT
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.views import Phase, RoundView

_RECEIPT_BYTES = 1024
_RECORDED = frozenset({Phase.CLOSED, Phase.FINAL})
_OVER = _RECORDED | {Phase.FAILED}
"""Not rejected: nobody here has done anything that a validator could report."""


def outcome(view: RoundView) -> str:
    """What became of a round."""
    if view.phase is Phase.FAILED:
        return f"failed: {Failure(view.fail_reason).name.lower().replace('_', '-')}"
    return view.phase.name.lower()


def check_end(world: World) -> dict[int, str]:
    """Everything below; returns what became of each round. The services must have ended."""
    with world.ledger() as ledger:
        task = TaskId(bytes.fromhex(world.task))
        kinds = Counter((type(event), getattr(event, "round", 0)) for event in ledger.events(task))
        twice = {what: count for what, count in kinds.items() if count > 1}
        assert not twice, f"committed more than once: {twice}"
        last = ledger.task(task).last_round
        views = [ledger.round(task, number) for number in map(Round, range(1, last + 1))]
    # Only the last may be unfinished: the world ended in the middle of it.
    unended = [view.round for view in views if view.phase not in _OVER]
    assert not set(unended) - {last}, f"rounds {unended} were never ended"
    report = world.audit()
    assert report["ok"], report
    receipts = _receipts(world)
    for view in views:
        if view.phase in _RECORDED:
            _check_receipts(world, view, receipts)
    return {view.round: outcome(view) for view in views}


def _receipts(world: World) -> list[list[Receipt]]:
    found = []
    for index in range(len(world.devices)):
        with Journal.open(world.device_folder(index) / "state" / JOURNAL_FILE) as journal:
            noted = journal.events(RECEIPT)
            found.append([decode(Receipt, each.value, limit=_RECEIPT_BYTES) for each in noted])
    return found


def _check_receipts(world: World, view: RoundView, receipts: list[list[Receipt]]) -> None:
    """What a device has a receipt for stands in the record, and none sent two different things."""
    store = DirectoryStore(Layout(world.folder / "aggregator" / "state").content)

    def get(cid: Cid) -> bytes:
        return get_object(store, cid)

    signed = decode_object(SignedRecord, get(object_cid_from_digest(Digest(view.record))))
    record = decode_object(Record, get(signed.record))
    assert not record.misconduct, f"round {view.round}: {record.misconduct}"
    taken = {
        envelope_digest(envelope)
        for envelope in decode_object(SealedList, get(record.sealed)).envelopes
    }
    verdicts = decode_object(Verdicts, get(record.verdicts)).verdicts
    taken |= {envelope_digest(v.submission) for v in verdicts if v.submission is not None}
    for device in receipts:
        others = {
            each.envelope
            for each in device
            if each.round == view.round and each.reason is None and each.envelope not in taken
        }
        # What is left can only be the receipt for an opening, which the sum names by device.
        assert len(others) <= 1, f"round {view.round}: {len(others)} receipts are not honoured"
    openings = sum(
        any(
            each.round == view.round and each.reason is None and each.envelope not in taken
            for each in device
        )
        for device in receipts
    )
    assert openings <= len(record.sum.summands), f"round {view.round}: an opening was lost"
