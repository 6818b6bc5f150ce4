"""What the fault matrix is made with, each piece alone: a fault must really strike."""

import errno
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.cells import (
    COMPONENTS,
    Cell,
    Component,
    Fault,
    Phase,
    all_cells,
    covering,
    pairs,
    worlds_of,
)
from tests.faults.network import Network
from tests.faults.parts import Events, Part
from tests.faults.surroundings import DAY_S, Clock, Disk
from tests.faults.table import BEGIN, END, Run, put_into, tables
from tests.faults.trial import Result
from tests.real.components import Server

pytestmark = pytest.mark.enable_socket


def eventually(holds: Callable[[], bool], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- cells ----------------------------------------------------------------------------------


def test_every_possible_cell_is_there_once() -> None:
    cells = all_cells()
    assert len(set(cells)) == len(cells) == 6 * len(Fault) * len(Phase) + 2 * 3
    assert {cell.component for cell in cells} == set(COMPONENTS) == set(Component)


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_covers_every_pair(seed: int) -> None:
    cells = all_cells()
    sample = covering(cells, seed)
    assert set().union(*map(pairs, sample)) == set().union(*map(pairs, cells))
    assert len(sample) < len(cells) / 4
    assert covering(cells, seed) == sample


def test_worlds_hold_all_cells_with_false_clocks_apart() -> None:
    worlds = worlds_of(all_cells(), 10)
    assert sorted(itertools.chain.from_iterable(worlds)) == sorted(all_cells())
    assert all(len(world) <= 10 for world in worlds)
    assert all(len({cell.fault is Fault.CLOCK for cell in world}) == 1 for world in worlds)


# --- network --------------------------------------------------------------------------------


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as running:
        yield running


def test_a_cut_passes_nothing_and_loses_nothing(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = network.proxy(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            accepted, _ = server.accept()
            with accepted:
                eventually(lambda: proxy.connections == 1)
                client.sendall(b"before")
                assert accepted.recv(100) == b"before"
                network.cut(proxy)
                client.sendall(b"during")
                accepted.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    accepted.recv(100)
                network.mend(proxy)
                accepted.settimeout(10)
                assert accepted.recv(100) == b"during"
        eventually(lambda: proxy.connections == 0)


def test_a_new_connection_waits_for_the_end_of_the_cut(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = network.proxy(server.getsockname()[1])
        network.cut(proxy)
        server.settimeout(0.2)
        with socket.create_connection(("127.0.0.1", proxy.port)):
            with pytest.raises(TimeoutError):
                server.accept()
            network.mend(proxy)
            server.settimeout(10)
            server.accept()[0].close()


# --- disk and clock -------------------------------------------------------------------------


def test_a_full_disk_takes_nothing_until_it_is_freed(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    with disk.mounted():
        (disk.folder / "before").write_bytes(b"x")
        disk.fill()
        with pytest.raises(OSError) as caught:  # noqa: PT011  (its number is the message)
            (disk.folder / "more").write_bytes(bytes(8192))
        assert caught.value.errno == errno.ENOSPC
        disk.free()
        (disk.folder / "more").write_bytes(bytes(8192))
    assert not (disk.folder / "before").exists()


def test_a_clock_jumps_for_its_process_alone(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    script = "import time\nwhile input():\n    print(time.time(), time.monotonic(), flush=True)"

    def ask() -> tuple[float, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("?\n")
        process.stdin.flush()
        wall, monotonic = process.stdout.readline().split()
        return float(wall) - time.time(), float(monotonic) - time.monotonic()

    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | clock.environment,
    ) as process:
        try:
            assert ask()[0] == pytest.approx(0, abs=60)
            clock.set(DAY_S)
            eventually(lambda: ask()[0] > DAY_S - 60)
            assert ask()[1] == pytest.approx(0, abs=60)
            clock.set(0)
            eventually(lambda: ask()[0] < 60)
        finally:
            process.kill()


# --- parts ----------------------------------------------------------------------------------


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    server = Server([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    made = Part("sleeper", lambda: server.start(lambda: True), lambda: server)
    made.start()
    yield made
    made.stop()


def test_a_killed_part_stays_away_until_it_is_revived(part: Part) -> None:
    first = part.pid
    part.kill()
    part.look()
    assert part.pid is None
    part.revive()
    assert part.pid not in (None, first)
    assert part.restarts == 0


def test_a_part_that_dies_by_itself_is_started_again(part: Part) -> None:
    first = part.pid
    assert first is not None
    os.kill(first, 9)
    eventually(lambda: part.pid is None)
    eventually(lambda: part.look() and part.pid is not None)
    assert part.restarts == 1


@pytest.mark.parametrize("status", [12, 70])
def test_a_part_that_gives_up_is_reported(tmp_path: Path, status: int) -> None:
    words = [sys.executable, "-c", f"print('so long'); raise SystemExit({status})"]
    server = Server(words, tmp_path / "log")
    part = Part("quitter", lambda: server.start(lambda: True), lambda: server)
    part.start()
    eventually(lambda: part.pid is None)
    with pytest.raises(AssertionError, match="so long"):
        part.look()


def test_events_are_read_line_by_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    events = Events(log)
    events.read()
    assert events.last == (0, "")
    log.write_text('a warning\n{"event": "ready", "task": "x"}\n{"event": "state", "round": 1')
    events.read()
    assert events.ready["task"] == "x"
    assert events.states == []
    with log.open("a") as file:
        file.write(', "state": "committing"}\n')
    events.read()
    assert events.last == (1, "committing")


# --- table ----------------------------------------------------------------------------------


def test_the_table_says_what_was_run_and_what_was_not() -> None:
    cell = Cell(Component.AGENT, Fault.KILL, Phase.SEAL)
    what = (cell.component.value, cell.fault.value, cell.phase.value)
    kill = Result(("broker", "kill -9", "proving"), 3, 1, 2.0, "closed")
    run = Run({"seed": "7"}, [Result(what, 1, 1, 6.4, "closed")], [kill], ["world 3: died"])
    made = tables(run)
    assert "- seed: 7" in made
    assert "- **failed**: world 3: died" in made
    assert "| seal | closed, 6 s | not run |" in made
    assert "### 1 random kills" in made
    assert "| broker | 1 |" in made


def test_the_page_keeps_what_stands_around_the_table() -> None:
    page = f"head\n{BEGIN}\nold\n{END}\nfoot\n"
    assert put_into(page, "new\n") == f"head\n{BEGIN}\n\nnew\n\n{END}\nfoot\n"
