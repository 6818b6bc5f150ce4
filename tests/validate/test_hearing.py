"""What a validator hears while a round begins, and before it could."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.validate.members import MARGIN_S, Clock, Fleet, fleet
from tests.validate.test_faults import DROPPED, silenced
from tests.validate.test_rounds import play
from tests.validate.world import DEVICES, Lie, Operator, Said

from zkpot.cid import split_object
from zkpot.journal import Journal
from zkpot.wire import topics
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import Commitment, Phase, Submission
from zkpot.wire.topics import DeviceTopic, Kind
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.ledger.views import Phase as OnChain
from zkpot_aggregator.validate.hearing import Hearing


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite") as opened:
        yield opened


def hear(hearing: Hearing, said: Said) -> None:
    """The broker delivers a device's message and its blocks."""
    for topic, payload in said.published:
        hearing.hear(topics.parse_device_topic(topic), payload)


async def leave_out_dropped(found: Fleet) -> None:
    """The rest of a round, whose operator says nothing of what one device has committed to."""
    operator, lie = found.operator, Lie(drop=DROPPED.id)
    for announced in (operator.seal(lie), operator.draw(), operator.judge(lie)):
        await found.told(announced)
    await found.told(operator.close(lie))


class Interrupted(Intake):
    """Somebody speaks while it is emptied."""

    speaking: threading.Thread

    def clear(self) -> None:
        """See `Intake.clear`."""
        self.speaking.start()
        # Long enough for whoever does not have to wait.
        self.speaking.join(0.5)
        super().clear()


def test_what_is_said_while_a_round_begins_is_not_lost(journal: Journal, tmp_path: Path) -> None:
    operator = Operator()
    intake = Interrupted(tmp_path / "intake", MemoryStore())
    hearing = Hearing(journal, intake, MARGIN_S, Clock())

    asyncio.run(play(Fleet(operator, [])))
    hearing.begin(operator.terms)
    hear(hearing, operator.commitments[DEVICES[0].id])

    operator.open()
    said = operator.commitments[DEVICES[1].id]
    intake.speaking = threading.Thread(target=hear, args=(hearing, said))
    hearing.begin(operator.terms)
    intake.speaking.join()
    found = hearing.said_by(Commitment, DEVICES[1].id)
    assert (found.envelope, found.proof) == (said.envelope, said.proof)


@pytest.mark.parametrize("early", ["before the announcement", "before the roster", None])
def test_the_second_thing_said_is_not_held_against_anybody(
    early: str | None, tmp_path: Path
) -> None:
    """A device commits at once to what it never proves, and then to something else.

    The aggregator takes the first alone; a validator that does not know the roster yet must not
    take the second for the first.
    """

    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            announced = operator.open()
            said = operator.commitments[DROPPED.id]
            for member in found.members:
                if early == "before the announcement":
                    member.hearing.hear(*unproven(said))
                member.endorsing.announced(announced, kept=False)
                if early == "before the roster":
                    member.hearing.hear(*unproven(said))
                await member.step()
                member.hear(said)
                member.clock.now += 2 * MARGIN_S
                await member.step()
            await leave_out_dropped(found)
            assert operator.phase() is (OnChain.FINAL if early else OnChain.REJECTED)

    asyncio.run(main())


def unproven(said: Said) -> tuple[DeviceTopic, bytes]:
    """A commitment by the same device, whose proof nobody gets to see."""
    message = open_envelope(said.envelope, {said.device.id: said.device.public_key}).message
    assert isinstance(message, Commitment)
    other = replace(message, wellformed=split_object(b"withheld")[0])
    topic = topics.up(said.device.id, said.kind)
    return topics.parse_device_topic(topic), sign(other, said.device)


@pytest.mark.parametrize("early", [True, False])
def test_a_submission_before_the_batch_is_held_against_nobody(early: bool, tmp_path: Path) -> None:
    """The aggregator refuses it, or has just begun to take submissions and never gets its proof.

    In either case it need not have taken another one of the same device.
    """

    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await found.told(operator.open())
            message = Submission(
                operator.task_id, operator.number, operator.parent, 1, split_object(b"proof")[0]
            )
            said = Said(DROPPED, Kind.SUBMISSION, sign(message, DROPPED), b"proof")
            if early:
                await found.heard(said)
            await found.told(operator.seal())
            await found.told(operator.draw())
            if early:
                said = replace(said, envelope=sign(replace(message, count=2), DROPPED))
            await found.heard(said)
            lie = Lie(verdicts=lambda verdicts: [silenced(each) for each in verdicts])
            await found.told(operator.judge(lie))
            await found.told(operator.close(lie))
            assert operator.phase() is (OnChain.FINAL if early else OnChain.REJECTED)

    asyncio.run(main())


def test_who_spoke_early_is_heard_again_in_the_next_round(journal: Journal, tmp_path: Path) -> None:
    operator = Operator()
    hearing = Hearing(journal, Intake(tmp_path / "intake", MemoryStore()), MARGIN_S, Clock())
    asyncio.run(play(Fleet(operator, [])))
    hearing.announced(operator.number, Phase.COMMIT, 10, kept=False)
    hear(hearing, operator.commitments[DEVICES[0].id])
    hearing.begin(operator.terms)
    hear(hearing, operator.commitments[DEVICES[0].id])
    assert not hearing.undecided

    announced = operator.open()
    hearing.announced(announced.round, Phase.COMMIT, 10, kept=False)
    hearing.begin(operator.terms)
    hear(hearing, operator.commitments[DEVICES[0].id])
    assert hearing.undecided


@pytest.mark.parametrize("away", [True, False])
def test_a_validator_that_was_away_holds_nobody_for_that_phase(away: bool, tmp_path: Path) -> None:
    async def main() -> None:
        operator = Operator()
        with fleet(tmp_path, operator, 2) as found:
            await found.told(operator.open())
            if away:
                for member in found.members:
                    member.hearing.connected()
            await found.heard(operator.commitments[DROPPED.id])
            await leave_out_dropped(found)
            assert operator.phase() is (OnChain.FINAL if away else OnChain.REJECTED)

    asyncio.run(main())
