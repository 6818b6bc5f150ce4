"""Announcements of made-up rounds, for tests of the device's side."""

from typing import Any

from zkpot.cid import Cid, node_cid
from zkpot.ids import Beacon, Digest, Round, TaskId, digest
from zkpot.wire.messages import Announcement, Phase

TASK = TaskId(digest("test-task"))


def cid(name: str) -> Cid:
    """The same made-up object for the same name."""
    return node_cid(name.encode())


def announcement(
    round_number: int, phase: Phase, variant: str = "", **changes: Any
) -> Announcement:
    """What an honest aggregator announces; `variant` makes another batch of the same round."""
    name = f"{round_number}{variant}"
    drawn = phase not in (Phase.COMMIT, Phase.SEAL, Phase.FAILED)
    judged = phase in (Phase.AGGREGATE, Phase.RECORD, Phase.CLOSED)
    fields: dict[str, Any] = {
        "task": TASK,
        "round": Round(round_number),
        "phase": phase,
        "parent": Digest(digest("parent", str(round_number - 1).encode())),
        "model": cid(f"model {round_number}"),
        "roster": cid(f"roster {round_number}"),
        "sealed": None if phase is Phase.COMMIT else cid(f"sealed {name}"),
        "beacon": Beacon(digest("beacon", name.encode())) if drawn else None,
        "batch": cid(f"batch {name}") if drawn else None,
        "verdicts": cid(f"verdicts {round_number}") if judged else None,
        "record": cid(f"record {round_number}") if phase is Phase.CLOSED else None,
        "reason": "too few" if phase is Phase.FAILED else None,
    }
    return Announcement(**(fields | changes))
