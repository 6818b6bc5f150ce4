"""What `run` prints: lines for people, or JSON objects and nothing else."""

import json

import pytest
from tests.aggregator.round_kit import DEVICES, OPERATOR, PHASES, Bench, make_task
from tests.aggregator.test_round import in_phase

from zkpot.ids import TaskId, device_text
from zkpot.link import BrokerSettings
from zkpot_aggregator.publisher import Publisher
from zkpot_aggregator.round import states as at
from zkpot_aggregator.service import Ready
from zkpot_aggregator.task_setup import TaskHandle
from zkpot_aggregator.ui.events import event_printer

READY = Ready(
    TaskHandle(TaskId(bytes(32)), make_task(), Publisher(())),
    OPERATOR.public_key,
    BrokerSettings("127.0.0.1", 1883),
)


def test_events_are_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say = event_printer(json_output=True)
    say["progress"]("srs", 0.5)
    say["on_ready"](READY)
    bench = Bench().to_recording()
    say["on_state"](bench.state)
    say["on_state"](Bench().to_failing().state)
    progress, ready, recording, failing = map(json.loads, capsys.readouterr().out.splitlines())
    assert progress == {"event": "progress", "what": "srs", "fraction": 0.5}
    assert ready == {
        "event": "ready",
        "task": "00" * 32,
        "host": "127.0.0.1",
        "port": 1883,
        "operator_key": OPERATOR.public_key.hex(),
    }
    record = bench.now(at.Recording).record
    assert recording["leader"] == device_text(record.leader)
    assert recording["leader"] in {device_text(key.id) for key in DEVICES}
    assert recording["count"] == record.count
    assert failing["state"] == "failing"
    assert "commitments" in failing["failure"]


@pytest.mark.parametrize("phase", PHASES)
def test_every_state_has_a_line(phase: str, capsys: pytest.CaptureFixture[str]) -> None:
    state = in_phase(phase).state
    event_printer(json_output=False)["on_state"](state)
    name = type(state).__name__.lower()
    assert capsys.readouterr().out == f"round {state.start.round}: {name}\n"


def test_people_read_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say = event_printer(json_output=False)
    say["on_ready"](READY)
    say["progress"]("keys", 1.0)
    assert capsys.readouterr().out == f"task {'00' * 32}\nbroker 127.0.0.1:1883\nkeys 100%\n"
