"""What `zkpot-agent status` shows: read from the journal's file, beside a running service."""

import sqlite3
from typing import Any, get_args

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import device_text
from zkpot.keys import load_key_file
from zkpot.wire.codec import decode_tagged
from zkpot_agent.config import JOURNAL_FILE, AgentConfig
from zkpot_agent.driver import INCIDENT, STATE_KEY
from zkpot_agent.round import machine
from zkpot_agent.round import states as at

_LATEST = 5


def read_status(config: AgentConfig) -> dict[str, Any]:
    """Round, phase, unsent messages and the latest incidents; raises `Fatal` (STATE)."""
    path = config.state_dir / JOURNAL_FILE
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            state = connection.execute(
                "SELECT value FROM states WHERE key = ?", (STATE_KEY,)
            ).fetchone()
            (unsent,) = connection.execute("SELECT count(*) FROM outgoing").fetchone()
            incidents = connection.execute(
                "SELECT key FROM events WHERE kind = ? ORDER BY number DESC LIMIT ?",
                (INCIDENT, _LATEST),
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Fatal(ExitCode.STATE, f"cannot read {path}: has the agent run? ({error})") from error
    facts: dict[str, Any] = {
        "device": device_text(load_key_file(config.key_file).id),
        "task": config.task,
        "round": 0,
        "phase": "never started",
        "unsent": unsent,
        "incidents": [key for (key,) in incidents],
    }
    if state is not None:
        current = decode_tagged(get_args(at.State), state[0])
        facts |= {"round": machine.round_of(current), "phase": type(current).__name__.lower()}
    return facts
