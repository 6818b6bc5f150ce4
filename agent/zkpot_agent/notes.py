"""What a device notes in its journal, for its owner, for reports, and as evidence."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zkpot.ids import Round
from zkpot.journal import Journal

RECEIPT = "receipt"
"""Receipts, by the digest of the envelope they answer."""

TIMING = "timing"
"""When a step of a round began and ended."""

COUNT = "count"
"""By round, how many samples of the batch our model labels right."""

EPSILON = "epsilon"
"""By round, what the device's data has spent so far, and at which delta."""


@contextmanager
def timed(journal: Journal, round_number: Round, what: str) -> Iterator[None]:
    """Notes when a step began and ended."""
    began = time.time()
    yield
    span = json.dumps([began, time.time()])
    journal.note(TIMING, f"{round_number}/{what}/{began:.3f}", span.encode())
