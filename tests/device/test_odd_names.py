"""Names that are legal and mean something else to a URI, or to nobody."""

from pathlib import Path

import pytest
from tests.device.test_profiles import a_config
from tests.protocol.rounds import SPEC, make_samples, make_task

from zkpot.aggregate import GlobalModel
from zkpot.cid import cid_text, node_cid, split_object
from zkpot.errors import Fatal
from zkpot.initial import initial_model
from zkpot.journal import Journal
from zkpot.keys import create_key_file
from zkpot.task import encode_task
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.inference import TASK_FILE, open_model
from zkpot_agent.selftest import known_task
from zkpot_agent.status import read_status

TASK = make_task(make_samples(), node_cid(b"genesis"))
MODEL = initial_model(SPEC, 5)


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b=c", "a%20b", "ü"])
def test_a_state_directory_of_any_name_is_read_beside_the_service(
    tmp_path: Path, name: str
) -> None:
    create_key_file(tmp_path / "key")
    state = tmp_path / name
    with Journal.open(state / "journal.sqlite") as journal:
        manifest = JournalBlocks(journal).offer(encode_task(TASK))
        JournalBlocks(journal).offer(MODEL.encode())
    (state / TASK_FILE).write_bytes(encode_task(TASK))
    names = sorted(path.name for path in tmp_path.iterdir())
    config = a_config(
        task=split_object(encode_task(TASK))[0][-32:].hex(),
        key_file=tmp_path / "key",
        state_dir=state,
    )
    assert manifest == split_object(encode_task(TASK))[0]
    assert read_status(config)["phase"] == "never started"
    assert known_task(config) == TASK
    found = open_model(cid_text(split_object(MODEL.encode())[0]), config, None)
    assert GlobalModel(found.theta, 1).encode() == GlobalModel(MODEL.theta, 1).encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_name_too_long_for_a_file_is_no_model() -> None:
    with pytest.raises(Fatal, match="needs --config"):
        open_model("x" * 300, None, None)
