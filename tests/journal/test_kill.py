"""A process killed in the middle of writing leaves whole transitions only."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from zkpot.journal import Journal

_CHILD = """
import sys
from pathlib import Path
from zkpot.journal import Journal, Outgoing

with Journal.open(Path(sys.argv[1])) as journal:
    number = int(journal.get("head") or b"0")
    print("ready", flush=True)
    while True:
        number += 1
        text = str(number).encode()
        journal.transition(
            {"head": text, "copy": text + bytes(number % 7 * 3000)},
            [Outgoing("t", text), Outgoing("latest", text, True, "latest")],
        )
"""

_KILLS = 12


def test_after_kill_9_state_and_outgoing_agree(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    source = random.Random(1)
    for _ in range(_KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(path)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(source.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        _check(path)


def _check(path: Path) -> None:
    with Journal.open(path) as journal:
        head = int(journal.get("head") or b"0")
        if head:
            copy = journal.get("copy")
            assert copy is not None
            assert copy.rstrip(b"\0") == str(head).encode()
        pending = journal.outgoing(limit=1_000_000)
        ordinary = [int(each.message.payload) for each in pending if each.message.topic == "t"]
        assert ordinary == list(range(1, head + 1))
        latest = [int(each.message.payload) for each in pending if each.message.replaces]
        assert latest == ([head] if head else [])
