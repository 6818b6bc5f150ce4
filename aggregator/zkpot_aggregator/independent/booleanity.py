"""Every auxiliary entry is a bit (section 8.4); both statements end with it."""

from zkpot_aggregator.independent.forms import ZERO
from zkpot_aggregator.independent.multilinear import ceil_log, eq_table
from zkpot_aggregator.independent.replay import Entry, Replay


def booleanity(replay: Replay) -> None:
    """A zero-check of x^2 - x over all auxiliary rows, of which there are `sizes.rows`."""
    log_rows = ceil_log(replay.sizes.rows)
    log_columns = ceil_log(replay.width)
    at = replay.transcript.challenge_point(log_rows + log_columns)
    final, point = replay.zero_check(ZERO, at)
    x = replay.message()
    replay.constraints.append(final - replay.multiply(x, x) + x.form)
    column = replay.column(eq_table(point[log_rows:]))
    weights = eq_table(point[:log_rows])
    entries = [Entry(column, row, weights[row]) for row in range(replay.sizes.rows)]
    replay.claim(entries, x.form)
