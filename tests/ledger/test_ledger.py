"""What every ledger does, whichever chain is behind it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from zkpot.errors import Reason, Rejected
from zkpot.ids import Round, TaskId
from zkpot_aggregator.ledger.base import Ledger, LedgerConflict, LedgerReverted
from zkpot_aggregator.ledger.beacon import beacon, check_beacon
from zkpot_aggregator.ledger.calls import (
    Address,
    Attest,
    Call,
    CloseRound,
    CreateTask,
    DrawBeacon,
    FailRound,
    OpenRound,
    RejectRound,
    SealCommitments,
    device_word,
)
from zkpot_aggregator.ledger.views import (
    ZERO,
    BeaconDrawn,
    CommitmentsSealed,
    Phase,
    RoundAttested,
    RoundClosed,
    RoundFailed,
    RoundOpened,
    RoundRejected,
    TaskCreated,
)

TASK = TaskId(b"T" * 32)
ROSTER = b"R" * 32
ROOT = b"C" * 32
LEADER = device_word(b"L" * 20)
DELAY = 2


def record(number: int) -> bytes:
    return b"record" + number.to_bytes(26, "big")


def open_round(number: int, parent: bytes) -> OpenRound:
    return OpenRound(TASK, Round(number), parent, ROSTER)


def seal(number: int) -> SealCommitments:
    return SealCommitments(TASK, Round(number), ROOT, 3)


def close(number: int) -> CloseRound:
    return CloseRound(TASK, Round(number), record(number), LEADER, 30, 32)


def draw(ledger: Ledger, number: int) -> DrawBeacon:
    """The call, once the chain is ready for it."""
    ledger.wait_for_block(ledger.round(TASK, Round(number)).draw_height + 1, timeout_s=60)
    return DrawBeacon(TASK, Round(number))


def play(ledger: Ledger, number: int, parent: bytes, until: Phase = Phase.CLOSED) -> None:
    """Takes a round to a phase."""
    steps: Iterator[Call] = iter((open_round(number, parent), seal(number)))
    for phase in (Phase.OPEN, Phase.SEALED):
        ledger.submit(next(steps))
        if phase is until:
            return
    ledger.submit(draw(ledger, number))
    if until is not Phase.DRAWN:
        ledger.submit(close(number))


def create(parties: Any, quorum: int = 2, delay: int = DELAY) -> None:
    parties.operator.submit(CreateTask(TASK, delay, parties.addresses if quorum else (), quorum))


def refused(ledger: Ledger, call: Call, word: str) -> None:
    with pytest.raises(LedgerReverted) as error:
        ledger.submit(call)
    assert error.value.word == word


class TestReading:
    def test_unknown_task(self, parties: Any) -> None:
        for ask in (parties.operator.task, lambda task: parties.operator.round(task, Round(1))):
            with pytest.raises(Rejected) as error:
                ask(TASK)
            assert error.value.reason is Reason.UNKNOWN_TASK
        assert parties.operator.events(TASK) == ()

    def test_round_of_an_unknown_task_is_not_opened(self, parties: Any) -> None:
        with pytest.raises(Rejected):
            parties.operator.submit(open_round(1, TASK))

    def test_fresh_task(self, parties: Any) -> None:
        create(parties)
        view = parties.stranger.task(TASK)
        assert (view.draw_delay, view.quorum, view.validators) == (DELAY, 2, parties.addresses)
        assert (view.head, view.head_round, view.last_round) == (TASK, 0, 0)
        assert parties.operator.round(TASK, Round(1)).phase is Phase.NONE

    def test_identity_is_the_same_for_all(self, parties: Any) -> None:
        assert parties.operator.identity() == parties.stranger.identity()

    def test_whole_round(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        parties.validators[0].submit(Attest(TASK, Round(1), record(1)))
        parties.validators[2].submit(Attest(TASK, Round(1), record(1)))
        view = parties.stranger.round(TASK, Round(1))
        assert view.phase is Phase.FINAL
        assert (view.parent, view.parent_round, view.roster_root) == (TASK, 0, ROSTER)
        assert (view.root, view.count, view.record, view.leader) == (ROOT, 3, record(1), LEADER)
        assert (view.correct, view.total, view.fail_reason) == (30, 32, 0)
        assert view.draw_height == view.seal_block + DELAY
        assert view.attested == (parties.addresses[0], parties.addresses[2])
        assert view.rejected == ()
        events = parties.stranger.events(TASK)
        assert [type(event) for event in events] == [
            TaskCreated, RoundOpened, CommitmentsSealed, BeaconDrawn, RoundClosed,
            RoundAttested, RoundAttested,
        ]  # fmt: skip
        assert [event.block for event in events] == sorted(event.block for event in events)
        assert [event.final for event in events if isinstance(event, RoundAttested)] == [
            False,
            True,
        ]
        sealed = events[2]
        assert isinstance(sealed, CommitmentsSealed)
        assert (sealed.block, sealed.draw_height) == (view.seal_block, view.draw_height)

    def test_beacon_is_recomputed_from_public_values(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK, until=Phase.DRAWN)
        view = parties.stranger.round(TASK, Round(1))
        identity = parties.stranger.identity()
        assert view.beacon == beacon(
            identity.chain_id, identity.contract, TASK, Round(1), ROOT, view.block_hash
        )
        drawn = parties.stranger.events(TASK)[-1]
        assert isinstance(drawn, BeaconDrawn)
        assert (drawn.block_hash, drawn.beacon) == (view.block_hash, view.beacon)
        assert check_beacon(identity, view, view.block_hash) == view.beacon
        for wrong in (
            dataclasses.replace(view, root=ZERO),
            dataclasses.replace(view, round=Round(2)),
            dataclasses.replace(view, block_hash=ZERO),
        ):
            with pytest.raises(Rejected) as error:
                check_beacon(identity, wrong, view.block_hash)
            assert error.value.reason is Reason.BEACON_MISMATCH
        with pytest.raises(Rejected):
            check_beacon(identity, view, ZERO)
        with pytest.raises(ValueError, match="32 bytes"):
            beacon(identity.chain_id, identity.contract, TASK, Round(1), b"", ZERO)


class TestSubmittingAgain:
    def test_finds_the_first_transaction_of_every_call(self, parties: Any) -> None:
        ledger = parties.operator
        made = []
        calls: list[Call] = [CreateTask(TASK, DELAY, parties.addresses, 2), open_round(1, TASK)]
        calls += [seal(1)]
        made += [ledger.submit(call) for call in calls]
        calls += [draw(ledger, 1), close(1)]
        made += [ledger.submit(call) for call in calls[3:]]
        calls += [open_round(2, record(1)), FailRound(TASK, Round(2), 60)]
        made += [ledger.submit(call) for call in calls[5:]]
        assert [ledger.submit(call) for call in calls] == made
        assert len({receipt.tx_hash for receipt in made}) == len(made)
        assert [event.tx_hash for event in ledger.events(TASK)] == [r.tx_hash for r in made]

    def test_finds_the_voter_s_own_vote(self, parties: Any) -> None:
        create(parties, quorum=3)
        play(parties.operator, 1, TASK)
        vote = Attest(TASK, Round(1), record(1))
        first, second = (ledger.submit(vote) for ledger in parties.validators[:2])
        assert first != second
        assert parties.validators[1].submit(vote) == second
        reject = RejectRound(TASK, Round(1), record(1))
        third = parties.validators[2].submit(reject)
        assert parties.validators[2].submit(reject) == third

    @pytest.mark.parametrize(
        ("call", "field", "other"),
        [
            (CreateTask(TASK, DELAY, (), 0), "draw_delay", 3),
            (open_round(1, TASK), "roster_root", b"x" * 32),
            (open_round(1, TASK), "parent", b"x" * 32),
            (seal(1), "root", b"x" * 32),
            (seal(1), "count", 4),
            (close(1), "record", b"x" * 32),
            (close(1), "leader", b"x" * 32),
            (close(1), "correct", 29),
            (close(1), "total", 33),
        ],
    )
    def test_another_effect_is_a_conflict(
        self, parties: Any, call: Any, field: str, other: object
    ) -> None:
        create(parties, quorum=0)
        play(parties.operator, 1, TASK)
        before = parties.operator.events(TASK)
        with pytest.raises(LedgerConflict):
            parties.operator.submit(dataclasses.replace(call, **{field: other}))
        assert parties.operator.events(TASK) == before

    def test_somebody_else_s_task_is_a_conflict(self, parties: Any) -> None:
        create(parties)
        with pytest.raises(LedgerConflict):
            parties.stranger.submit(CreateTask(TASK, DELAY, parties.addresses, 2))

    def test_a_failed_round_took_another_way(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK, until=Phase.OPEN)
        parties.operator.submit(FailRound(TASK, Round(1), 60))
        for call in (seal(1), DrawBeacon(TASK, Round(1)), close(1), FailRound(TASK, Round(1), 61)):
            with pytest.raises(LedgerConflict):
                parties.operator.submit(call)

    def test_a_closed_round_did_not_fail(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        with pytest.raises(LedgerConflict):
            parties.operator.submit(FailRound(TASK, Round(1), 60))

    def test_a_vote_is_not_changed(self, parties: Any) -> None:
        create(parties, quorum=3)
        play(parties.operator, 1, TASK)
        validator = parties.validators[0]
        validator.submit(Attest(TASK, Round(1), record(1)))
        with pytest.raises(LedgerConflict):
            validator.submit(RejectRound(TASK, Round(1), record(1)))
        with pytest.raises(LedgerConflict):
            validator.submit(Attest(TASK, Round(1), record(2)))

    @pytest.mark.parametrize(
        "call",
        [
            CreateTask(TaskId(b"short"), DELAY, (), 0),
            CreateTask(TASK, -1, (), 0),
            CreateTask(TASK, 1 << 256, (), 0),
            CreateTask(TASK, DELAY, (Address(b"short"),), 1),
            CreateTask(TASK, DELAY, tuple(Address(bytes([n]) * 20) for n in range(1, 34)), 1),
            OpenRound(TASK, Round(1), b"", ROSTER),
        ],
    )
    def test_malformed(self, parties: Any, call: Call) -> None:
        with pytest.raises(ValueError, match=r"bytes|word|at most"):
            parties.operator.submit(call)


class TestRules:
    @pytest.mark.parametrize(
        ("word", "change"),
        [
            ("zero", {"task": TaskId(ZERO)}),
            ("delay", {"draw_delay": 0}),
            ("delay", {"draw_delay": 50401}),
            ("quorum", {"quorum": 4}),
            ("quorum", {"quorum": 0}),
            ("quorum", {"validators": ()}),
            ("validators", {"validators": (Address(b"v" * 20),) * 3}),
            ("validators", {"validators": (Address(bytes(20)), Address(b"v" * 20))}),
        ],
    )
    def test_task(self, parties: Any, word: str, change: dict[str, Any]) -> None:
        call = CreateTask(TASK, DELAY, parties.addresses, 2)
        refused(parties.operator, dataclasses.replace(call, **change), word)

    def test_thirty_two_validators(self, parties: Any) -> None:
        many = tuple(Address(bytes([n]) * 20) for n in range(1, 33))
        parties.operator.submit(CreateTask(TASK, DELAY, many, 32))
        assert parties.operator.task(TASK).validators == many

    def test_only_the_operator_advances(self, parties: Any) -> None:
        create(parties)
        other = parties.validators[0]
        refused(other, open_round(1, TASK), "operator")
        play(parties.operator, 1, TASK, until=Phase.OPEN)
        refused(other, seal(1), "operator")
        refused(other, FailRound(TASK, Round(1), 60), "operator")
        parties.operator.submit(seal(1))
        # Anyone draws.
        parties.stranger.submit(draw(parties.stranger, 1))
        refused(other, close(1), "operator")

    def test_opening(self, parties: Any) -> None:
        create(parties)
        ledger = parties.operator
        refused(ledger, open_round(2, TASK), "round")
        refused(ledger, open_round(0, TASK), "round")
        refused(ledger, open_round(1, record(1)), "parent")
        refused(ledger, OpenRound(TASK, Round(1), TASK, ZERO), "zero")
        for phase in (Phase.OPEN, Phase.SEALED, Phase.DRAWN):
            number = ledger.task(TASK).last_round + 1
            play(ledger, number, TASK, until=phase)
            refused(ledger, open_round(number + 1, TASK), "unfinished")
            ledger.submit(FailRound(TASK, Round(number), 60))
            assert ledger.task(TASK).head == TASK

    def test_order_of_phases(self, parties: Any) -> None:
        # Longer than a node that mines on its own can take from the seal to the draw.
        create(parties, delay=200)
        ledger = parties.operator
        for call in (seal(1), DrawBeacon(TASK, Round(1)), close(1), FailRound(TASK, Round(1), 60)):
            refused(ledger, call, "phase")
        ledger.submit(open_round(1, TASK))
        refused(ledger, DrawBeacon(TASK, Round(1)), "phase")
        refused(ledger, close(1), "phase")
        ledger.submit(seal(1))
        refused(ledger, close(1), "phase")
        refused(ledger, DrawBeacon(TASK, Round(1)), "early")

    def test_values(self, parties: Any) -> None:
        create(parties)
        ledger = parties.operator
        ledger.submit(open_round(1, TASK))
        refused(ledger, SealCommitments(TASK, Round(1), ZERO, 3), "zero")
        refused(ledger, SealCommitments(TASK, Round(1), ROOT, 0), "zero")
        refused(ledger, FailRound(TASK, Round(1), 0), "zero")
        ledger.submit(seal(1))
        ledger.submit(draw(ledger, 1))
        refused(ledger, dataclasses.replace(close(1), record=ZERO), "zero")
        refused(ledger, dataclasses.replace(close(1), leader=ZERO), "zero")
        refused(ledger, dataclasses.replace(close(1), correct=33), "count")
        refused(ledger, dataclasses.replace(close(1), correct=0, total=0), "count")

    def test_draw_expires(self, parties: Any) -> None:
        create(parties)
        ledger = parties.operator
        play(ledger, 1, TASK, until=Phase.SEALED)
        ledger.wait_for_block(ledger.round(TASK, Round(1)).draw_height + 257, timeout_s=200)
        refused(ledger, DrawBeacon(TASK, Round(1)), "expired")
        ledger.submit(FailRound(TASK, Round(1), 60))
        assert ledger.round(TASK, Round(1)).phase is Phase.FAILED
        failed = ledger.events(TASK)[-1]
        assert isinstance(failed, RoundFailed)
        assert (failed.phase, failed.reason) == (Phase.SEALED, 60)


class TestVotes:
    def test_only_validators_on_a_closed_round_and_its_record(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK, until=Phase.DRAWN)
        for kind in (Attest, RejectRound):
            vote = kind(TASK, Round(1), record(1))
            refused(parties.stranger, vote, "validator")
            refused(parties.operator, vote, "validator")
            refused(parties.validators[0], vote, "phase")
        parties.operator.submit(close(1))
        for kind in (Attest, RejectRound):
            refused(parties.validators[0], kind(TASK, Round(1), record(2)), "record")

    def test_without_validators_nobody_votes(self, parties: Any) -> None:
        create(parties, quorum=0)
        play(parties.operator, 1, TASK)
        refused(parties.validators[0], Attest(TASK, Round(1), record(1)), "validator")
        assert parties.operator.round(TASK, Round(1)).phase is Phase.CLOSED

    def test_final_is_final(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        for validator in parties.validators[:2]:
            validator.submit(Attest(TASK, Round(1), record(1)))
        for kind in (Attest, RejectRound):
            refused(parties.validators[2], kind(TASK, Round(1), record(1)), "phase")

    def test_rejection_moves_the_head_back(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        play(parties.operator, 2, record(1))
        vote = RejectRound(TASK, Round(2), record(2))
        parties.validators[0].submit(vote)
        assert parties.operator.task(TASK).head == record(2)
        parties.validators[1].submit(vote)
        task = parties.operator.task(TASK)
        assert (task.head, task.head_round, task.last_round) == (record(1), 1, 2)
        assert parties.operator.round(TASK, Round(2)).phase is Phase.REJECTED
        last = parties.operator.events(TASK)[-1]
        assert isinstance(last, RoundRejected)
        assert last.final
        refused(parties.operator, open_round(3, record(2)), "parent")
        play(parties.operator, 3, record(1))
        assert parties.operator.round(TASK, Round(3)).parent_round == 1

    def test_first_round_rejected(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        for validator in parties.validators[:2]:
            validator.submit(RejectRound(TASK, Round(1), record(1)))
        task = parties.operator.task(TASK)
        assert (task.head, task.head_round) == (TASK, 0)

    def test_nothing_is_pulled_from_under_a_later_round(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        parties.operator.submit(open_round(2, record(1)))
        vote = RejectRound(TASK, Round(1), record(1))
        refused(parties.validators[0], vote, "later")
        # A late attestation takes nothing from anybody.
        parties.validators[0].submit(Attest(TASK, Round(1), record(1)))
        # Once the later round has failed, the earlier one is the last closed one again.
        parties.operator.submit(FailRound(TASK, Round(2), 60))
        for validator in parties.validators[1:]:
            validator.submit(vote)
        assert parties.operator.task(TASK).head == TASK
        assert parties.operator.round(TASK, Round(1)).phase is Phase.REJECTED

    def test_a_built_on_round_is_not_rejected(self, parties: Any) -> None:
        create(parties)
        play(parties.operator, 1, TASK)
        play(parties.operator, 2, record(1))
        refused(parties.validators[0], RejectRound(TASK, Round(1), record(1)), "later")
