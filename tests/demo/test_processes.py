"""The demonstration's processes: what they say, and that none outlives it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.demo.processes import LEASH, Events, Process, start
from zkpot_aggregator.demo.run import _STATE_TO_TEXT, _check_alive
from zkpot_aggregator.round import states as at

WAIT_S = 300.0


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs to start."""
    (tmp_path / "says.py").write_text(
        "import sys\nprint(sys.argv[1])\nprint('bye', file=sys.stderr)"
    )
    (tmp_path / "sleeps.py").write_text("import time\nprint('{}', flush=True)\ntime.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    with start("sleeper", "sleeps", [], tmp_path / "logs" / "log") as process:
        yield process


def nothing() -> None:
    pass


def test_every_state_of_a_round_can_be_shown() -> None:
    assert set(_STATE_TO_TEXT) == {state.__name__.lower() for state in get_args(at.State)}


def test_events_end_with_the_process(tmp_path: Path) -> None:
    with start("speaker", "says", ['{"event": "x"}'], tmp_path / "log") as process:
        events = Events(process)
        assert events.next(WAIT_S, nothing) == {"event": "x"}
        assert events.next(WAIT_S, nothing) is None
        assert process.popen.wait() == 0
        assert process.tail() == "bye"


def test_the_last_words_of_a_child_that_ends_as_it_is_looked_at_are_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Popen:
        """It speaks and ends just before it is asked whether it has ended."""

        def __init__(self) -> None:
            reader, self._writer = os.pipe()
            self.stdout = os.fdopen(reader)

        def poll(self) -> int:
            os.write(self._writer, b'{"event": "end"}\n')
            return 0

    monkeypatch.setattr("zkpot_aggregator.demo.processes.LOOK_SECONDS", 0.2)
    popen: Any = Popen()
    events = Events(Process("speaker", popen, tmp_path / "log"))
    assert events.next(WAIT_S, nothing) == {"event": "end"}


def test_silence_is_not_waited_for_for_ever(sleeper: Process) -> None:
    events = Events(sleeper)
    assert events.next(WAIT_S, nothing) == {}
    with pytest.raises(Fatal, match="the sleeper was silent for 0 s") as caught:
        events.next(0, nothing)
    assert caught.value.exit_code is ExitCode.FAILURE


def test_devices_that_have_all_ended_end_the_wait(sleeper: Process, tmp_path: Path) -> None:
    events = Events(sleeper)
    events.next(WAIT_S, nothing)
    with (
        start("device 0", "says", ["x"], tmp_path / "0") as first,
        start("device 1", "says", ["x"], tmp_path / "1") as second,
    ):
        _check_alive([])
        _check_alive([first, sleeper])
        first.popen.wait()
        second.popen.wait()
        _check_alive([first, sleeper])
        with pytest.raises(Fatal) as caught:
            events.next(WAIT_S, lambda: _check_alive([first, second]))
    assert str(caught.value).splitlines() == [
        "every device has ended early",
        *("device 0 ended with 0:", "bye", "device 1 ended with 0:", "bye"),
    ]


def test_a_child_that_ignores_its_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deaf.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('{}', flush=True)\ntime.sleep(600)"
    )
    monkeypatch.setattr("zkpot_aggregator.demo.processes.STOP_SECONDS", 0.2)
    with start("deaf", "deaf", [], tmp_path / "log") as process:
        Events(process).next(WAIT_S, nothing)
    assert process.popen.returncode == -signal.SIGKILL


def test_a_child_ends_with_a_killed_parent(tmp_path: Path) -> None:
    parent = (
        "import time; from pathlib import Path\n"
        "from zkpot_aggregator.demo.processes import Events, start\n"
        f"with start('child', 'sleeps', [], Path({str(tmp_path / 'log')!r})) as child:\n"
        "    Events(child).next(60, lambda: None)\n"
        "    print(child.popen.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    end = time.monotonic() + WAIT_S
    while alive(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    """As if the parent had died before the kernel was asked: its pid is not ours."""
    words = [sys.executable, "-m", LEASH, "1", sys.executable, "-m", "says", "x"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert (done.returncode, done.stdout) == (0, "")


def alive(pid: int) -> bool:
    """It runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
