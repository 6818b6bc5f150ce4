"""What must hold after a world has ended, whatever was done to it; each raises AssertionError."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.world import World

from zkpot.cid import Cid, object_cid_from_digest
from zkpot.errors import Failure
from zkpot.ids import DeviceId, Digest, Round, TaskId
from zkpot.journal import Journal
from zkpot.keys import load_key_file
from zkpot.record import Record, SealedList, SignedRecord, Verdicts, decode_object
from zkpot.wire.codec import decode
from zkpot.wire.envelope import envelope_digest
from zkpot.wire.messages import Receipt
from zkpot_agent.config import JOURNAL_FILE
from zkpot_agent.driver import INCIDENT
from zkpot_agent.notes import RECEIPT
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.views import Phase, RoundView

_RECEIPT_BYTES = 1024
_DECLINED = "declined to prove"
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
    journals = _journals(world)
    for view in views:
        if view.phase in _RECORDED:
            _check_receipts(world, view, journals)
    return {view.round: outcome(view) for view in views}


@dataclass(frozen=True)
class _Kept:
    """What a device's journal keeps for ever: what was taken of it, and when it sent no proof."""

    receipts: Sequence[Receipt]
    declined: frozenset[int]


def _journals(world: World) -> dict[DeviceId, _Kept]:
    found = {}
    for index in range(len(world.devices)):
        folder = world.device_folder(index)
        with Journal.open(folder / "state" / JOURNAL_FILE) as journal:
            noted = [
                decode(Receipt, event.value, limit=_RECEIPT_BYTES)
                for event in journal.events(RECEIPT)
            ]
            incidents = [event.key.split("/", 1) for event in journal.events(INCIDENT)]
        declined = frozenset(int(number) for number, what in incidents if _DECLINED in what)
        taken = [receipt for receipt in noted if receipt.reason is None]
        found[load_key_file(folder / "device.key").id] = _Kept(taken, declined)
    return found


def _check_receipts(world: World, view: RoundView, journals: Mapping[DeviceId, _Kept]) -> None:
    """What a device has a receipt for stands in the record, and none sent two different things."""
    store = DirectoryStore(Layout(world.folder / "aggregator" / "state").content)

    def get(cid: Cid) -> bytes:
        return get_object(store, cid)

    signed = decode_object(SignedRecord, get(object_cid_from_digest(Digest(view.record))))
    record = decode_object(Record, get(signed.record))
    assert not record.misconduct, f"round {view.round}: {record.misconduct}"
    sealed = decode_object(SealedList, get(record.sealed)).envelopes
    verdicts = decode_object(Verdicts, get(record.verdicts)).verdicts
    submissions = [each.submission for each in verdicts if each.submission is not None]
    named = {envelope_digest(envelope) for envelope in (*sealed, *submissions)}
    summed = {summand.device for summand in record.sum.summands}
    for device, kept in journals.items():
        for receipt in kept.receipts:
            if receipt.round != view.round or receipt.envelope in named:
                continue
            # No record holds the envelope of an opening, or of a word that there is no proof.
            honoured = device in summed or view.round in kept.declined
            assert honoured, f"round {view.round}: {receipt} is lost"
