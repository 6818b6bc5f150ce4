"""What a validator hears while a round begins, and before it could."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.validate.members import MARGIN_S, Clock, Fleet
from tests.validate.test_rounds import play
from tests.validate.world import DEVICES, Operator, Said

from zkpot.journal import Journal
from zkpot.wire import topics
from zkpot.wire.messages import Commitment
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.validate.hearing import Hearing


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite") as opened:
        yield opened


def hear(hearing: Hearing, said: Said) -> None:
    """The broker delivers a device's message and its blocks."""
    for topic, payload in said.published:
        hearing.hear(topics.parse_device_topic(topic), payload)


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
