"""The aggregator's driver when validators reject a round: on one journal, and across kills."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.aggregator import rig as aggregator
from tests.aggregator.rig import ROSTER, Rig
from tests.validate.world import ACCOUNTS, VALIDATORS

from zkpot.cid import object_cid_from_digest
from zkpot.ids import Digest, Round
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.record import Record, SignedRecord, decode_object
from zkpot.verify import RoundTerms
from zkpot_aggregator import chain_work
from zkpot_aggregator.config import ValidatorConfig
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.ledger.calls import (
    Attest,
    CloseRound,
    DrawBeacon,
    OpenRound,
    RejectRound,
    SealCommitments,
)
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.ledger.views import Phase
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at

REJECTED = Round(1)


class Judged(Rig):
    """Two of three validators reject the first round and attest every other."""

    def _says(self, key: KeyPair, state: at.State | None, worker: GroupWorker) -> list[on.Event]:
        if isinstance(state, at.Attesting):
            number, record = state.start.round, state.signed
            vote = RejectRound if number == REJECTED else Attest
            for account in ACCOUNTS[:2]:
                ledger = MemoryLedger(account, self.ledger.world)
                if ledger.round(state.start.task, number).phase is Phase.CLOSED:
                    ledger.submit(vote(state.start.task, number, record))
            return []
        return super()._says(key, state, worker)


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    validators = tuple(
        ValidatorConfig(account.hex(), key.public_key.hex())
        for account, key in zip(ACCOUNTS, VALIDATORS, strict=True)
    )
    config = replace(aggregator.CONFIG, validators=validators, quorum=2)
    monkeypatch.setattr(aggregator, "CONFIG", config)
    monkeypatch.setattr(chain_work, "POLL_SECONDS", 0.01)
    return Judged(tmp_path)


def check(rig: Judged) -> None:
    """The second round is built on what was there before the first."""
    task = next(iter(rig.ledger.world.tasks))
    views = [rig.ledger.round(task, Round(number)) for number in (1, 2)]
    assert [view.phase for view in views] == [Phase.REJECTED, Phase.FINAL]
    assert [view.parent for view in views] == [task, task]
    records = []
    for view in views:
        cid = object_cid_from_digest(Digest(view.record))
        signed = decode_object(SignedRecord, get_object(rig.content, cid))
        records.append(decode_object(Record, get_object(rig.content, signed.record)))
    assert records[1].model_before == records[0].model_before
    assert records[1].model_before != records[0].model_after
    assert rig.ledger.task(task).head == views[1].record


def test_a_task_goes_on_after_a_rejected_round(judged: Judged) -> None:
    assert asyncio.run(judged.live())
    assert [state for state in judged.states if state.startswith("attesting")] == [
        "attesting 1",
        "attesting 2",
    ]
    check(judged)


@pytest.mark.parametrize("late", [False, True], ids=["before its effects", "after its effects"])
@pytest.mark.parametrize("state", ["closing", "attesting", "ended"])
def test_a_kill_around_a_rejection_changes_nothing(judged: Judged, state: str, late: bool) -> None:
    assert not asyncio.run(judged.live((state, REJECTED), late=late))
    assert asyncio.run(judged.live())
    check(judged)


def test_a_round_whose_parent_is_rejected_just_then_opens_on_what_is_left(judged: Judged) -> None:
    async def main() -> on.Event:
        judged.folder.joinpath("state").mkdir()
        with Journal.open(judged.journal_file) as journal:
            worker = judged.worker(journal)
            task, ledger, record = worker.handle.id, judged.ledger, Digest(b"r" * 32)
            for call in (
                OpenRound(task, REJECTED, task, ROSTER.root),
                SealCommitments(task, REJECTED, b"s" * 32, 1),
                DrawBeacon(task, REJECTED),
                CloseRound(task, REJECTED, record, b"l" * 32, 1, 4),
            ):
                if isinstance(call, DrawBeacon):
                    ledger.wait_for_block(ledger.round(task, REJECTED).draw_height + 1, 1)
                ledger.submit(call)
            for account in ACCOUNTS[:2]:
                MemoryLedger(account, ledger.world).submit(RejectRound(task, REJECTED, record))
            terms = RoundTerms(task, worker.handle.task, Round(2), record, ROSTER)
            try:
                return await worker.open_round(terms)
            finally:
                worker.chain.stop()

    moved = asyncio.run(main())
    (task,) = judged.ledger.world.tasks
    assert isinstance(moved, on.HeadMoved)
    assert moved.parent == Digest(task)
