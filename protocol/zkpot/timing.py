"""When the steps of a round began and ended, as each role notes it in its journal."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zkpot.ids import Round
from zkpot.journal import Journal

_KIND = "timing"


@contextmanager
def timed(journal: Journal, round_number: Round, what: str) -> Iterator[None]:
    """Notes when a step began and ended, if it ends well."""
    began = time.time()
    yield
    note_span(journal, round_number, what, began, time.time())


def note_span(journal: Journal, round_number: Round, what: str, began: float, ended: float) -> None:
    """Notes a step, in seconds since the epoch; `what` has no slash."""
    key = f"{round_number}/{what}/{began:.6f}"
    journal.note(_KIND, key, json.dumps([began, ended]).encode(), rolling=True)


def spans(journal: Journal, number: int) -> list[tuple[str, float, float]]:
    """(step, began, ended) of a round, in seconds since the epoch."""
    found = []
    for event in journal.events(_KIND):
        noted, what, _ = event.key.split("/")
        if int(noted) == number:
            began, ended = json.loads(event.value)
            found.append((what, began, ended))
    return found
