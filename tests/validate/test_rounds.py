"""Three validators, a quorum of two, and an operator that is honest, or lies in a record."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.validate.members import Fleet, Member, fleet
from tests.validate.world import DEVICES, HONEST, Lie, Operator

from zkpot.cid import split_object
from zkpot.endorsement import ENDORSED, Endorsements
from zkpot.errors import Reason
from zkpot.ids import Round, TaskId
from zkpot.record import Verdict
from zkpot.wire import topics
from zkpot.wire.messages import Announcement, Phase
from zkpot_aggregator.audit.audit import Sources, audit
from zkpot_aggregator.audit.omission import COMMITMENT, SUBMISSION
from zkpot_aggregator.audit.replay import Replayed, replay_fault
from zkpot_aggregator.audit.report import Standing
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.ledger.memory import MemoryLedger
from zkpot_aggregator.ledger.views import Phase as OnChain
from zkpot_aggregator.ledger.views import RoundView
from zkpot_aggregator.validate.endorse import WITHHELD
from zkpot_aggregator.validate.outcome import Result


def sources(operator: Operator) -> Sources:
    """What an audit reads."""
    return Sources(operator.ledger, operator.content, lambda _task: operator.system)


async def play(found: Fleet, lie: Lie = HONEST) -> list[Announcement]:
    """A whole round, in which everybody hears everything in time."""
    operator = found.operator
    announced = [operator.open()]
    await found.told(announced[-1])
    for said in operator.commitments.values():
        await found.heard(said)
    announced.append(operator.seal(lie))
    await found.told(announced[-1])
    announced.append(operator.draw())
    await found.told(announced[-1])
    for said in operator.submissions.values():
        await found.heard(said)
    announced.append(operator.judge(lie))
    await found.told(announced[-1])
    announced.append(operator.close(lie))
    await found.told(announced[-1])
    return announced


def endorsed(found: Fleet, announcement: Announcement) -> int:
    """How many validators have endorsed an announcement."""
    operator = found.operator
    counted = Endorsements(operator.task_id, operator.task)
    for member in found.members:
        topic = topics.endorsement(operator.task_id, member.key.id, announcement.phase)
        for payload in member.sent(topic):
            counted.add(payload)
    return operator.task.quorum - counted.missing(announcement)


def test_an_honest_round_is_endorsed_and_made_final(tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator) as found:
            for number in (1, 2):
                announced = await play(found)
                assert operator.phase() is OnChain.FINAL
                for announcement in announced[1:]:
                    assert announcement.phase in ENDORSED
                    assert endorsed(found, announcement) == 2
                    assert endorsed(found, replace(announcement, beacon=None, record=None)) <= 2
                for member in found.members:
                    outcome = member.outcomes.of(operator.number)
                    assert outcome is not None
                    assert (outcome.result, outcome.settled) == (Result.VERIFIED, True)
                    assert len(member.content.pins()) == number
            report = audit(operator.task_id, sources(operator))
            assert report.ok
            assert report.complete
            assert [each.standing for each in report.rounds] == [Standing.FINAL] * 2
            assert "attested by 2 of 3 validators" in report.rounds[0].notes

    asyncio.run(main())


@pytest.mark.parametrize(
    ("phase", "lacking"),
    [
        (Phase.PROVE, ("verdicts", "batch")),
        (Phase.AGGREGATE, ("verdicts",)),
        (Phase.AGGREGATE, ("verdicts", "batch")),
        (Phase.AGGREGATE, ("batch",)),
    ],
)
def test_what_lacks_what_its_phase_makes_is_not_endorsed(
    phase: Phase, lacking: tuple[str, ...], tmp_path: Path
) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator) as found:
            for announced in (operator.open(), operator.seal(), operator.draw()):
                await found.told(announced)
            judged = operator.judge()
            changes: dict[str, Any] = dict.fromkeys(lacking)
            incomplete = replace(judged, phase=phase, **changes)
            await found.told(incomplete)
            assert endorsed(found, incomplete) == 0
            assert all(member.journal.events(WITHHELD) for member in found.members)
            await found.told(judged)
            assert endorsed(found, judged) == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    "terms",
    [{"minimum_devices": 1, "maximum_devices": len(DEVICES) - 1}, {"rounds": 0}, {}],
    ids=["too many devices", "after the last round", "as agreed"],
)
def test_a_round_beyond_the_task_s_numbers_is_not_endorsed(
    terms: dict[str, Any], tmp_path: Path
) -> None:
    async def main() -> None:
        operator = Operator()
        operator.task = replace(operator.task, **terms)
        with fleet(tmp_path, operator) as found:
            await found.told(operator.open())
            sealed = operator.seal()
            await found.told(sealed)
            assert endorsed(found, sealed) == (0 if terms else 2)

    asyncio.run(main())


def accept_less(verdicts: list[Verdict]) -> list[Verdict]:
    """Judges an accepted submission invalid."""
    place = next(i for i, verdict in enumerate(verdicts) if verdict.reason is None)
    verdicts[place] = replace(verdicts[place], reason=Reason.PROOF_INVALID, count=0)
    return verdicts


def silence(verdicts: list[Verdict]) -> list[Verdict]:
    """Judges a submission as none."""
    place = next(i for i, verdict in enumerate(verdicts) if verdict.reason is None)
    device = verdicts[place].device
    verdicts[place] = Verdict(device, Reason.NO_SUBMISSION, 0, None)
    return verdicts


LIES: dict[str, tuple[Callable[[Operator], Lie], str]] = {
    "swapped model": (
        lambda operator: Lie(
            record=lambda record: replace(record, model_after=operator.another_model())
        ),
        "sum",
    ),
    "wrong sum": (
        lambda _: Lie(total=lambda total: replace(total, blinding=bytes(16))),
        "sum",
    ),
    "changed verdict": (lambda _: Lie(verdicts=accept_less), "verdicts"),
    "dropped commitment": (lambda _: Lie(drop=DEVICES[1].id), COMMITMENT),
    "dropped submission": (lambda _: Lie(verdicts=silence), SUBMISSION),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_reported_rejected_and_replayed(name: str, tmp_path: Path) -> None:
    make, check = LIES[name]

    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator) as found:
            await play(found)
            head = operator.head
            announced = await play(found, make(operator))
            assert operator.phase() is OnChain.REJECTED
            assert operator.head == head
            assert endorsed(found, announced[-1]) == 0
            for member in found.members[:2]:
                (report,) = member.sent(topics.fault(operator.task_id, member.key.id))
                replayed = replay(operator, member, report)
                assert replayed.confirmed
                assert replayed.report.check == check
                assert replayed.hearsay == (check in (COMMITMENT, SUBMISSION))
                cid = split_object(report, replayed.report.evidence)[0]
                assert cid in member.content.pins()
            # The task goes on from the parent's model.
            await play(found)
            assert operator.phase() is OnChain.FINAL
            assert operator.record_of(operator.head).parent == head
            report_ = audit(operator.task_id, sources(operator))
            assert report_.ok, report_.fault
            standings = [each.standing for each in report_.rounds]
            assert standings == [Standing.FINAL, Standing.REJECTED, Standing.FINAL]

    asyncio.run(main())


def replay(operator: Operator, member: Member, report: bytes) -> Replayed:
    """Replays a report from what operator and validator keep."""
    both = MemoryStore()
    both.blocks = operator.content.blocks | member.content.blocks
    found = Sources(operator.ledger, both, lambda _task: operator.system)
    return replay_fault(operator.task_id, report, found)


def test_a_task_may_go_on_while_it_is_audited() -> None:
    operator = Operator()
    for step in (operator.open, operator.seal, operator.draw, operator.judge):
        step()

    class Meanwhile(MemoryLedger):
        """The round is closed as soon as it was read."""

        def round(self, task: TaskId, number: Round) -> RoundView:
            view = super().round(task, number)
            operator.close()
            return view

    report = audit(
        operator.task_id, replace(sources(operator), ledger=Meanwhile(world=operator.chain))
    )
    assert report.ok, report.fault
    assert [each.standing for each in report.rounds] == [Standing.UNFINISHED]
    assert operator.phase() is OnChain.CLOSED
    assert audit(operator.task_id, sources(operator)).rounds[0].standing is Standing.UNATTESTED
