"""Reports that are not true, messages that came too late, objects that are gone, kills."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.protocol.rounds import key
from tests.validate.members import MARGIN_S, Fleet, Member, fleet
from tests.validate.test_rounds import play, replay, sources
from tests.validate.world import ACCOUNTS, DEVICES, HONEST, VALIDATORS, Lie, Operator, Said

from zkpot.cid import object_cid_from_digest, split_object
from zkpot.errors import ExitCode, Reason, Rejected, Transient
from zkpot.ids import Digest, Round
from zkpot.record import Verdict
from zkpot.wire import topics
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import Commitment, Decline, FaultReport
from zkpot.wire.topics import Kind
from zkpot_aggregator.audit import omission
from zkpot_aggregator.audit.audit import audit
from zkpot_aggregator.content.base import put_object
from zkpot_aggregator.ledger.base import Receipt
from zkpot_aggregator.ledger.calls import Attest, Call, RejectRound
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.ledger.views import Phase as OnChain
from zkpot_aggregator.ledger.views import RoundAttested
from zkpot_aggregator.ui.audit import exit_code
from zkpot_aggregator.validate.outcome import Result


def report_on(operator: Operator, **changes: object) -> FaultReport:
    """A false report on the last round."""
    report = FaultReport(
        operator.task_id,
        operator.number,
        Digest(operator.ledger.round(operator.task_id, operator.number).record),
        "sum",
        Reason.SUM_MISMATCH,
        "made up",
        None,
        (),
    )
    return replace(report, **changes)  # type: ignore[arg-type]


def test_a_false_report_is_not_confirmed(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator) as found:
            await play(found)
            member = found.members[0]
            said = operator.commitments[DEVICES[0].id]
            evidence = tuple(put_object(member.content, x) for x in (said.envelope, said.proof))
            for changes in (
                {},
                {"check": "verdicts", "device": DEVICES[0].id},
                {"check": "nothing"},
                {"check": omission.COMMITMENT, "evidence": evidence},
                {"check": omission.SUBMISSION, "evidence": evidence},
            ):
                report = sign(report_on(operator, **changes), VALIDATORS[0])
                assert not replay(operator, member, report).confirmed
            for report, reason in (
                (sign(report_on(operator), key(77)), Reason.NOT_IN_ROSTER),
                (
                    sign(report_on(operator, record=Digest(bytes(32))), VALIDATORS[0]),
                    Reason.CHAIN_MISMATCH,
                ),
                (
                    sign(report_on(operator, check=omission.COMMITMENT), VALIDATORS[0]),
                    Reason.NOT_FOUND,
                ),
            ):
                with pytest.raises(Rejected) as caught:
                    replay(operator, member, report)
                assert caught.value.reason is reason

    asyncio.run(main())


@pytest.mark.parametrize("number", [2, 1 << 60], ids=["under way", "never opened"])
def test_what_never_closed_has_no_fault_to_confirm(number: int, tmp_path: Path) -> None:
    """Nothing stands on chain, so a record is not found: that is no fault, and no long search."""

    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator) as found:
            await play(found)
            operator.open()
            report = report_on(
                operator,
                round=Round(number),
                record=Digest(bytes(32)),
                check="record",
                reason=Reason.NOT_FOUND,
            )
            with pytest.raises(Rejected) as caught:
                replay(operator, found.members[0], sign(report, VALIDATORS[0]))
            assert caught.value.reason is Reason.CHAIN_MISMATCH

    asyncio.run(main())


def test_a_true_fault_reported_as_another_is_not_confirmed(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator) as found:
            await play(found, Lie(total=lambda total: replace(total, blinding=bytes(16))))
            member = found.members[0]
            for changes, confirmed in (
                ({}, True),
                ({"check": "model", "reason": Reason.MODEL_MISMATCH}, False),
                ({"device": DEVICES[0].id}, False),
            ):
                report = sign(report_on(operator, **changes), VALIDATORS[0])
                assert replay(operator, member, report).confirmed is confirmed

    asyncio.run(main())


# --- omissions that are none ----------------------------------------------------------------

DROPPED = DEVICES[1]


async def play_without(
    found: Fleet, hear: Callable[[Member, Said], None], *, kept: bool = False
) -> None:
    """A round that omits one device, whose commitment validators hear as `hear` says."""
    operator, lie = found.operator, Lie(drop=DROPPED.id)
    announced = operator.open()
    for member in found.members:
        member.endorsing.announced(announced, kept=kept)
        await member.step()
        hear(member, operator.commitments[DROPPED.id])
        await member.step()
    for announced in (operator.seal(lie), operator.draw(), operator.judge(lie)):
        await found.told(announced)
    await found.told(operator.close(lie))


def _in_time(member: Member, said: Said) -> None:
    member.hear(said)
    member.clock.now += 2 * MARGIN_S


def _late(member: Member, said: Said) -> None:
    member.clock.now += 10 - MARGIN_S / 2
    _in_time(member, said)


def _just_before_the_seal(member: Member, said: Said) -> None:
    member.hear(said)
    member.clock.now += MARGIN_S / 2


def _without_its_proof(member: Member, said: Said) -> None:
    topic, payload = said.published[0]
    member.hearing.hear(topics.parse_device_topic(topic), payload)
    member.clock.now += 2 * MARGIN_S


def _before_a_restart(member: Member, said: Said) -> None:
    member.hear(said)
    member.stop()
    member.start()
    member.clock.now += 2 * MARGIN_S


def _on_anothers_topic(member: Member, said: Said) -> None:
    payload = said.published[0][1]
    topic = topics.up(DEVICES[0].id, Kind.COMMITMENT)
    with pytest.raises(Rejected) as caught:
        member.hearing.hear(topics.parse_device_topic(topic), payload)
    assert caught.value.reason is Reason.WRONG_TOPIC


@pytest.mark.parametrize(
    "hear",
    [_late, _just_before_the_seal, _without_its_proof, _before_a_restart, _on_anothers_topic],
)
def test_what_may_have_been_late_is_not_held_against_anybody(
    hear: Callable[[Member, Said], None], tmp_path: Path
) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await play_without(found, hear)
            assert operator.phase() is OnChain.FINAL

    asyncio.run(main())


def test_a_deadline_that_nobody_saw_begin_holds_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await play_without(found, _in_time, kept=True)
            assert operator.phase() is OnChain.FINAL
            await play_without(found, _in_time)
            assert operator.phase() is OnChain.REJECTED

    asyncio.run(main())


def test_an_invalid_commitment_may_be_left_out(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:

            def hear(member: Member, said: Said) -> None:
                other = operator.commitments[DEVICES[0].id]
                _in_time(
                    member, replace(other, device=said.device, envelope=_with_proof(said, other))
                )

            await play_without(found, hear)
            assert operator.phase() is OnChain.FINAL

    asyncio.run(main())


def _with_proof(said: Said, other: Said) -> bytes:
    """The commitment, with another device's proof."""
    message = open_envelope(said.envelope, {said.device.id: said.device.public_key}).message
    assert isinstance(message, Commitment)
    return sign(replace(message, wellformed=split_object(other.proof)[0]), said.device)


def silenced(verdict: Verdict) -> Verdict:
    """The verdict on the dropped device: that it sent nothing."""
    if verdict.device != DROPPED.id:
        return verdict
    return Verdict(DROPPED.id, Reason.NO_SUBMISSION, 0, None)


def test_who_declines_is_not_missed(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await found.told(operator.open())
            await found.told(operator.seal())
            await found.told(operator.draw())
            said = operator.submissions[DROPPED.id]
            decline = Decline(
                operator.task_id, operator.number, operator.parent, Reason.CANNOT_PROVE, ""
            )
            await found.heard(Said(DROPPED, Kind.DECLINE, sign(decline, DROPPED), b""))
            await found.heard(said)

            lie = Lie(verdicts=lambda verdicts: [silenced(each) for each in verdicts])
            await found.told(operator.judge(lie))
            await found.told(operator.close(lie))
            assert operator.phase() is OnChain.FINAL

    asyncio.run(main())


# --- objects that are gone ------------------------------------------------------------------


def test_a_record_that_cannot_be_had_is_not_attested_and_later_a_fault(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await play(Fleet(operator, []))
            model = operator.record_of(operator.head).model_after
            attest_s = operator.task.deadlines.attest
            for member in found.members:
                member.withheld.add(model)
                for _ in range(2):
                    await member.step()
                    member.clock.now += attest_s / 2 - 1
                    await member.step()
                    member.stop()
                    member.clock.now += attest_s  # which it is not blamed for
                    member.start()
                await member.step()
                assert member.outcomes.next_round == 1
            assert operator.phase() is OnChain.CLOSED
            for member in found.members:
                member.clock.now += 3
                await member.step()
            assert operator.phase() is OnChain.REJECTED
            (report,) = found.members[0].sent(topics.fault(operator.task_id, VALIDATORS[0].id))
            gone = dict(operator.content.blocks)
            for cid in [cid for cid in gone if cid == model]:
                del operator.content.blocks[cid]
            assert replay(operator, found.members[0], report).confirmed
            operator.content.blocks = gone
            assert not replay(operator, found.members[0], report).confirmed

    asyncio.run(main())


def test_a_record_that_comes_in_time_is_attested(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await play(Fleet(operator, []))
            for member in found.members:
                member.withheld.add(object_cid_from_digest(operator.head))
                await member.step()
                member.withheld.clear()
                await member.step()
            assert operator.phase() is OnChain.FINAL

    asyncio.run(main())


def drop_round(operator: Operator, number: int) -> None:
    """The operator's store loses what only this round's record needs."""
    record = operator.ledger.round(operator.task_id, Round(number)).record
    operator.content.unpin(object_cid_from_digest(record))
    for kept in (operator.roster, operator.task.genesis):
        operator.content.pin(kept)
    operator.content.pin(object_cid_from_digest(operator.task_id))
    operator.content.collect_garbage()


@pytest.mark.parametrize("final", [True, False])
def test_an_audit_goes_on_after_a_round_whose_objects_are_gone(final: bool, tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2 if final else 0) as found:
            for _ in range(3):
                await play(found)
        drop_round(operator, 2)
        report = audit(operator.task_id, sources(operator))
        if not final:
            assert report.fault is not None
            assert (report.fault.round, report.fault.reason) == (2, Reason.NOT_FOUND)
            assert exit_code(report) is ExitCode.AUDIT_FAILED
            return
        assert report.ok
        assert [finding.verified for finding in report.rounds] == [True, False, True]
        assert exit_code(report) is ExitCode.AUDIT_INCOMPLETE
        assert any("not re-verified" in note for note in report.rounds[1].notes)

    asyncio.run(main())


def test_a_validator_that_comes_later_takes_final_rounds_that_are_gone_as_they_are(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await play(found)
            await play(found)
        drop_round(operator, 1)
        late = Member(2, tmp_path, operator)
        late.start()
        await late.step()
        results = [late.outcomes.of(Round(n)) for n in (1, 2)]
        assert [each and each.result for each in results] == [Result.GONE, Result.VERIFIED]
        late.stop()

    asyncio.run(main())


def test_nothing_is_said_about_rounds_on_a_faulty_parent(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        lie = Lie(total=lambda total: replace(total, blinding=bytes(16)))
        with fleet(tmp_path, operator, 1) as found:
            await play(found, lie)
            assert operator.phase() is OnChain.CLOSED
            await play(found, HONEST)
            assert operator.phase() is OnChain.CLOSED
            outcomes = found.members[0].outcomes
            results = [outcomes.of(Round(number)) for number in (1, 2)]
            assert [each and each.result for each in results] == [
                Result.FAULTY,
                Result.UNFOUNDED,
            ]

    asyncio.run(main())


# --- kills and outages ----------------------------------------------------------------------


class Killed(Exception):
    """The process dies here."""


class Mortal(MemoryLedger):
    """A ledger behind which the process dies, before or after the call took effect."""

    dies = ""

    def submit(self, call: Call) -> Receipt:
        """See `Ledger.submit`."""
        if self.dies == "before":
            raise Killed
        receipt = super().submit(call)
        if self.dies == "after":
            raise Killed
        return receipt


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("lie", [False, True], ids=["attest", "reject"])
def test_a_kill_around_the_vote_makes_one_vote(when: str, lie: bool, tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        bent = Lie(total=lambda total: replace(total, blinding=bytes(16))) if lie else HONEST
        await play(Fleet(operator, []), bent)
        ledger = Mortal(ACCOUNTS[0], operator.chain)
        member = Member(0, tmp_path, operator, ledger=ledger)
        member.start()
        ledger.dies = when
        with pytest.raises(Killed):
            await member.step()
        member.stop()
        ledger.dies = ""
        member.start()
        await member.step()
        await member.step()
        outcome = member.outcomes.of(Round(1))
        assert outcome is not None
        assert outcome.settled
        view = ledger.round(operator.task_id, Round(1))
        votes = (view.attested, view.rejected)
        assert votes == (((), (ACCOUNTS[0],)) if lie else ((ACCOUNTS[0],), ()))
        names = {"RoundAttested", "RoundRejected"}
        events = [e for e in ledger.events(operator.task_id) if type(e).__name__ in names]
        assert len(events) == 1
        assert isinstance(events[0], RoundAttested) is not lie
        if lie:
            topic = topics.fault(operator.task_id, member.key.id)
            assert len(member.sent(topic)) == 1
        member.stop()

    asyncio.run(main())


class Overtaken(MemoryLedger):
    """The other validators reject a round just before each vote."""

    def submit(self, call: Call) -> Receipt:
        """See `Ledger.submit`."""
        assert isinstance(call, Attest)
        for account in ACCOUNTS[:2]:
            other = MemoryLedger(account, self.world)
            other.submit(RejectRound(call.task, call.round, call.record))
        return super().submit(call)


def test_a_round_rejected_just_before_our_vote_is_not_endorsed(tmp_path: Path) -> None:
    """A device that wants final records only must not take it from those who came too late."""

    async def main() -> None:
        operator = Operator()
        closed = (await play(Fleet(operator, [])))[-1]
        member = Member(2, tmp_path, operator, ledger=Overtaken(ACCOUNTS[2], operator.chain))
        member.start()
        await Fleet(operator, [member]).told(closed)
        assert operator.phase() is OnChain.REJECTED
        outcome = member.outcomes.of(Round(1))
        assert outcome is not None
        assert (outcome.result, outcome.settled) == (Result.NO_RECORD, True)
        topic = topics.endorsement(operator.task_id, member.key.id, closed.phase)
        assert member.sent(topic) == []
        member.stop()

    asyncio.run(main())


class Shaky(MemoryLedger):
    """A node that is away every other time."""

    away = False

    def _stumble(self) -> None:
        self.away = not self.away
        if self.away:
            raise Transient("the node is away")

    def submit(self, call: Call) -> Receipt:
        """See `Ledger.submit`."""
        self._stumble()
        return super().submit(call)


def test_a_node_that_is_away_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zkpot_aggregator.chain.FIRST_PAUSE_S", 0.01)

    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 0) as found:
            await play(found)
        for index in range(2):
            member = Member(
                index, tmp_path, operator, ledger=Shaky(ACCOUNTS[index], operator.chain)
            )
            member.start()
            await member.step()
            member.stop()
        assert operator.phase() is OnChain.FINAL

    asyncio.run(main())


def test_a_restarted_validator_says_the_same_again(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 1) as found:
            (member,) = found.members
            announced = await play(found)
            before = member.endorsing.endorsements()
            assert len(before) == len(announced) - 1
            member.stop()
            member.start()
            assert member.endorsing.endorsements() == before
            await found.told(announced[-1])
            assert member.endorsing.endorsements() == before

    asyncio.run(main())
