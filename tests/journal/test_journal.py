"""The journal keeps what it was told, in order, or refuses by name."""

import errno
import os
import resource
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.journal import Journal, Outgoing
from zkpot.journal import journal as journal_module


def _message(name: str, slot: str | None = None) -> Outgoing:
    return Outgoing(f"topic/{name}", name.encode(), retain=slot is not None, replaces=slot)


def _names(journal: Journal) -> list[str]:
    return [pending.message.payload.decode() for pending in journal.outgoing()]


def test_states_survive_reopening(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        journal.transition({"round/1": b"a", "round/2": b"b", "other": b"c"})
        journal.transition({"round/1": b"A", "other": None})
    with Journal.open(tmp_path / "state.db") as journal:
        assert journal.items("round/") == [("round/1", b"A"), ("round/2", b"b")]
        assert journal.get("other") is None
        assert journal.get("round/2") == b"b"
        assert [key for key, _ in journal.items()] == ["round/1", "round/2"]


def test_items_takes_the_prefix_literally(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        journal.transition({"a_b": b"1", "axb": b"2", "a%": b"3"})
        assert journal.items("a_") == [("a_b", b"1")]


def test_outgoing_keeps_its_order_until_acknowledged(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        journal.transition({}, [_message("a"), _message("b")])
        journal.transition({"k": b"v"}, [_message("c")])
        first, *_ = journal.outgoing()
        journal.acknowledge(first.number)
        journal.acknowledge(first.number, 999)
    with Journal.open(tmp_path / "state.db") as journal:
        assert _names(journal) == ["b", "c"]
        assert journal.unsent() == 2
        assert [each.message for each in journal.outgoing(limit=1)] == [_message("b")]
        assert _names(journal) == ["b", "c"]


def test_a_newer_message_takes_its_slot_and_an_old_acknowledgement_does_not_drop_it(
    tmp_path: Path,
) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        journal.transition({}, [_message("old", "status"), _message("x")])
        under_way = journal.outgoing()[0].number
        journal.transition({}, [_message("new", "status")])
        journal.acknowledge(under_way)
        assert _names(journal) == ["x", "new"]


def test_listeners_are_called_for_messages_only(tmp_path: Path) -> None:
    calls: list[None] = []
    with Journal.open(tmp_path / "state.db") as journal:
        stop = journal.on_outgoing(lambda: calls.append(None))
        journal.transition({"k": b"v"})
        assert calls == []
        journal.transition({}, [_message("a")])
        assert len(calls) == 1
        stop()
        journal.transition({}, [_message("b")])
        assert len(calls) == 1


def test_events_are_noted_once_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_EVENTS_PER_KIND", 3)
    with Journal.open(tmp_path / "state.db") as journal:
        assert journal.note("rejected", "x", b"1")
        assert not journal.note("rejected", "x", b"2")
        assert journal.note("rejected", "y")
        assert journal.note("rejected", "z")
        assert not journal.note("rejected", "one too many")
        assert journal.note("strike", "x")
        assert [(event.key, event.value) for event in journal.events("rejected")] == [
            ("x", b"1"),
            ("y", b""),
            ("z", b""),
        ]


def test_the_oldest_event_makes_room_where_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_EVENTS_PER_KIND", 3)
    with Journal.open(tmp_path / "state.db") as journal:
        assert journal.note("strike", "a")
        for key in ("a", "b", "c", "d", "e"):
            assert journal.note("receipt", key, rolling=True)
        assert not journal.note("receipt", "e", b"again", rolling=True)
        assert [event.key for event in journal.events("receipt")][-2:] == ["d", "e"]
        assert len(journal.events("receipt")) <= 3
        assert [event.key for event in journal.events("strike")] == ["a"]


def test_an_error_inside_a_transition_leaves_the_previous_state(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        journal.transition({"k": b"old"}, [_message("a")])
        with pytest.raises(Fatal):
            journal.transition({"k": b"new", "bad": object()}, [_message("b")])  # type: ignore[dict-item]
        assert journal.get("k") == b"old"
        assert _names(journal) == ["a"]


def test_a_full_disk_is_transient_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path, max_bytes=20 * 4096) as journal:
        journal.transition({"k": b"old"}, [_message("a")])
        with pytest.raises(Transient, match=r"state\.db"):
            journal.transition({"k": b"new", "big": bytes(200_000)}, [_message("b")])
        assert journal.get("k") == b"old"
        assert _names(journal) == ["a"]
        journal.transition({"k": b"small"})
    with Journal.open(path) as journal:
        assert journal.get("k") == b"small"
        assert _names(journal) == ["a"]


def test_a_disk_that_is_full_at_the_start_may_have_room_later(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        journal.transition({"k": b"old"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Less than the shared memory beside the log takes, which SQLite calls an I/O error.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(Transient, match="no room"):
            Journal.open(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Journal.open(path) as journal:
        assert journal.get("k") == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_the_first_file_is_transient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(Transient, match="no room"):
            Journal.open(tmp_path / "state.db")
    Journal.open(tmp_path / "state.db").close()


def test_a_place_that_is_no_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "b.lock").mkdir()
    for path in (tmp_path / "file" / "a", tmp_path / "b"):
        with pytest.raises(Fatal, match=f"cannot open {path}") as caught:
            Journal.open(path)
        assert caught.value.exit_code is ExitCode.STATE


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.db"
    with Journal.open(path) as journal:
        journal.transition({"k": b"v"})
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    path.chmod(0o640)
    with pytest.raises(Fatal, match="chmod 600"):
        Journal.open(path)


def test_a_second_opener_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    held = rf"in use by another process \(pid {os.getpid()}\)"
    with Journal.open(path), pytest.raises(Transient, match=held):
        Journal.open(path)
    Journal.open(path).close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Journal.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Fatal, match="version 99"):
        Journal.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 400])
def test_a_corrupt_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Fatal, match="corrupt") as caught:
        Journal.open(path)
    assert caught.value.exit_code is ExitCode.STATE
    assert path.read_bytes() == content


def test_damage_inside_a_database_is_found_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        journal.transition({f"key/{number}": bytes(500) for number in range(200)})
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(Fatal, match="corrupt"):
        Journal.open(path)


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE states (x)")
    connection.close()
    path.chmod(0o600)
    with pytest.raises(Fatal, match="not a journal"):
        Journal.open(path)


def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db-wal").write_bytes(b"x")
    with pytest.raises(Fatal, match="missing"):
        Journal.open(tmp_path / "state.db")


def test_a_leftover_of_an_interrupted_creation_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").write_bytes(b"half")
    Journal.open(tmp_path / "state.db").close()


def test_deleted_values_are_gone_from_the_files(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    secret = b"a mask key that must not be found again"
    with Journal.open(path) as journal:
        journal.transition({"mask": secret})
        journal.transition({"mask": None})
        assert all(secret not in file.read_bytes() for file in tmp_path.iterdir())


def test_threads_share_one_journal(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:

        def write(name: str) -> None:
            for number in range(20):
                journal.transition({name: str(number).encode()}, [_message(f"{name}{number}")])

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.unsent() == 80
        assert [name for name in _names(journal) if name.startswith("a")] == [
            f"a{number}" for number in range(20) if f"a{number}" in _names(journal)
        ]


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "state.db")
    journal.close()
    journal.close()
    with pytest.raises(Fatal, match="closed"):
        journal.get("k")
