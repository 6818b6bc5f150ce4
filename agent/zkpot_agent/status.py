"""What `zkpot-agent status` shows: read from the journal's file, beside a running service."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, get_args

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import device_text
from zkpot.keys import load_key_file
from zkpot.wire.codec import decode_tagged
from zkpot_agent.config import JOURNAL_FILE, AgentConfig
from zkpot_agent.driver import INCIDENT, STATE_KEY
from zkpot_agent.notes import COUNT, EPSILON
from zkpot_agent.profile import profile_of
from zkpot_agent.round import machine
from zkpot_agent.round import states as at

_LATEST = 5


def read_status(config: AgentConfig, *, proc: Path = Path("/proc")) -> dict[str, Any]:
    """Round, phase, counts, unsent messages, incidents, and the process; raises `Fatal` (STATE).

    `counts` are the latest rounds' `[round, correct, samples]` as proven by this device,
    `privacy.epsilon` their `[round, epsilon]`, of all rounds until then together.
    """
    path = config.state_dir / JOURNAL_FILE
    try:
        connection = sqlite3.connect(config.journal_uri, uri=True)
        try:
            state = connection.execute(
                "SELECT value FROM states WHERE key = ?", (STATE_KEY,)
            ).fetchone()
            (unsent,) = connection.execute("SELECT count(*) FROM outgoing").fetchone()
            incidents = _latest(connection, INCIDENT)
            counts = _latest(connection, COUNT)
            spent = _latest(connection, EPSILON)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Fatal(ExitCode.STATE, f"cannot read {path}: has the agent run? ({error})") from error
    profile = profile_of(config)
    pid = running_pid(config, proc)
    facts: dict[str, Any] = {
        "device": device_text(load_key_file(config.key_file).id),
        "task": config.task,
        "profile": None if profile is None else profile.name,
        "running": pid is not None,
        "pid": pid,
        "uptime_s": None if pid is None else uptime_s(pid, proc),
        "round": 0,
        "phase": "never started",
        "counts": [[int(key), *json.loads(value)] for key, value in counts],
        "privacy": privacy_spent(config, spent),
        "unsent": unsent,
        "incidents": [key for key, _ in incidents],
    }
    if state is not None:
        current = decode_tagged(get_args(at.State), state[0])
        facts |= {"round": machine.round_of(current), "phase": type(current).__name__.lower()}
    return facts


def privacy_spent(config: AgentConfig, noted: list[tuple[str, bytes]]) -> dict[str, Any] | None:
    """What the data has spent of its budget; None without differential privacy."""
    settings = config.privacy.differential
    if settings is None and not noted:
        return None
    return {
        "epsilon": [[int(key), round(json.loads(value)[0], 4)] for key, value in noted],
        "delta": json.loads(noted[0][1])[1] if noted else None,
        "budget": None if settings is None else [settings.epsilon, settings.delta],
    }


def running_pid(config: AgentConfig, proc: Path = Path("/proc")) -> int | None:
    """The process that holds the journal's lock, by the kernel's list of locks.

    Only looked at: taking the lock to try it could stop a service that starts just now.
    """
    lock = config.state_dir / f"{JOURNAL_FILE}.lock"
    try:
        inode = lock.stat().st_ino
        lines = (proc / "locks").read_text().splitlines()
    except OSError:
        return None
    for words in map(str.split, lines):
        if words[1:2] == ["FLOCK"] and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def uptime_s(pid: int, proc: Path = Path("/proc")) -> int | None:
    """For how long a process has run; None if it has just ended. See proc_pid_stat(5)."""
    try:
        # The second field is the program's name, which may hold spaces and parentheses.
        words = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        since_boot = float((proc / "uptime").read_text().split()[0])
    except OSError:
        return None
    return max(0, round(since_boot - int(words[19]) / os.sysconf("SC_CLK_TCK")))


def _latest(connection: sqlite3.Connection, kind: str) -> list[tuple[str, bytes]]:
    return connection.execute(
        "SELECT key, value FROM events WHERE kind = ? ORDER BY number DESC LIMIT ?",
        (kind, _LATEST),
    ).fetchall()
