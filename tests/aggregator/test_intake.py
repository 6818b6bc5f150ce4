"""The intake: what devices send, over what the content store has at hand."""

from pathlib import Path

import pytest

from zkpot.cid import Cid, raw_cid
from zkpot.errors import Reason, Rejected, Transient
from zkpot_aggregator.content.directory import DirectoryStore
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.content.mirror import MirroredStore
from zkpot_aggregator.intake import Intake

KEPT, SENT = b"kept", b"sent"


class Away(MemoryStore):
    """A daemon that cannot be reached."""

    def get(self, cid: Cid) -> bytes:
        raise Transient("away")

    def pin_complete(self, root: Cid) -> None:
        raise Transient("away")


@pytest.fixture
def content(tmp_path: Path) -> MirroredStore:
    store = MirroredStore(DirectoryStore(tmp_path / "content"), Away())
    store.put(raw_cid(KEPT), KEPT)
    return store


@pytest.fixture
def intake(tmp_path: Path, content: MirroredStore) -> Intake:
    return Intake(tmp_path / "intake", content)


def test_it_reads_from_both_and_writes_apart(intake: Intake, content: MirroredStore) -> None:
    intake.put(raw_cid(SENT), SENT)
    assert (intake.get(raw_cid(KEPT)), intake.get(raw_cid(SENT))) == (KEPT, SENT)
    assert not content.has(raw_cid(SENT))
    intake.clear()
    with pytest.raises(Rejected) as caught:
        intake.get(raw_cid(SENT))
    assert caught.value.reason is Reason.NOT_FOUND
    assert intake.get(raw_cid(KEPT)) == KEPT


def test_what_neither_has_is_missing_although_the_daemon_is_away(intake: Intake) -> None:
    with pytest.raises(Rejected) as caught:
        intake.get(raw_cid(SENT))
    assert caught.value.reason is Reason.NOT_FOUND
