"""The well-formedness statement: ranges of the parameters, zeros in padding (section 9)."""

from zkpot_aggregator.independent.booleanity import booleanity
from zkpot_aggregator.independent.forms import Form
from zkpot_aggregator.independent.layout import LayerRows, wellformed_rows
from zkpot_aggregator.independent.multilinear import ORDER, eq_table, prefix
from zkpot_aggregator.independent.replay import Entry, Replay
from zkpot_aggregator.independent.shape import Shape

_WEIGHT_BITS = 8


def replay_wellformed(shape: Shape, replay: Replay) -> None:
    """Runs the statement; the commitment's rows follow the auxiliary rows."""
    layers, _ = wellformed_rows(shape)
    for layer, rows in enumerate(layers, start=1):
        _weights(shape, replay, layer, rows)
        _biases(shape, replay, layer, rows)
    booleanity(replay)


def _weights(shape: Shape, replay: Replay, layer: int, rows: LayerRows) -> None:
    """A weight plus 128 is made of 8 bits inside the true dims; a weight outside is 0."""
    inputs, outputs = shape.dims[layer - 1], shape.dims[layer]
    log_inputs = max(shape.logs[layer - 1], shape.log_columns - shape.logs[layer])
    r_k = replay.transcript.challenge_point(log_inputs)
    r_h = replay.transcript.challenge_point(shape.logs[layer])
    across = eq_table(r_h)
    inside = [*across[:outputs], *[0] * (len(across) - outputs)]
    base = replay.sizes.rows + shape.weight_row(layer)
    bits = [(rows.weight_bit(place), -(2**place)) for place in range(_WEIGHT_BITS)]
    entries = replay.tensor([(base, 1)], inputs, r_k, across, masked=False)
    entries += replay.tensor(bits, inputs, r_k, inside, masked=True)
    replay.claim(entries, Form(-128 * prefix(r_k, inputs) * prefix(r_h, outputs) % ORDER))


def _biases(shape: Shape, replay: Replay, layer: int, rows: LayerRows) -> None:
    """The bias plus 2^bias_bits is made of bias_bits + 1 bits, and the rest of the row is 0."""
    outputs = shape.dims[layer]
    point = replay.transcript.challenge_point(shape.log_columns)
    weights = eq_table(point)
    whole = replay.column(weights)
    inside = replay.column(weights[:outputs])
    entries = [Entry(whole, replay.sizes.rows + shape.bias_row(layer), 1)]
    entries += [
        Entry(inside, rows.bias_bit(place), -(2**place)) for place in range(shape.bias_bits + 1)
    ]
    replay.claim(entries, Form(-(2**shape.bias_bits) * prefix(point, outputs) % ORDER))
