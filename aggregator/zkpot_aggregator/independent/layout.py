"""Where the auxiliary rows lie (section 5), and the number of messages (section 11)."""

from dataclasses import dataclass

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.multilinear import ceil_log
from zkpot_aggregator.independent.shape import Shape

UNIT_BYTES = 32
_MAX_ENTRIES = 2**30


@dataclass(frozen=True)
class Slabs:
    """Equal slabs one after another: a sign or flag, then the bits of a number."""

    flag: int
    rows: int
    bits: int

    def bit(self, place: int) -> int:
        """The first row of the slab of one bit, lowest first."""
        return self.flag + (1 + place) * self.rows

    @property
    def end(self) -> int:
        """The first row after them."""
        return self.bit(self.bits)


@dataclass(frozen=True)
class AccuracyRows:
    """The auxiliary rows of an accuracy proof, in the order of section 5."""

    hidden: tuple[Slabs, ...]
    comparison: Slabs
    winner: Slabs

    @property
    def total(self) -> int:
        """R."""
        return self.winner.end


def accuracy_rows(shape: Shape, samples: int) -> AccuracyRows:
    """Raises `Rejected` (PROOF_INVALID) when there would be too many."""
    slabs: list[Slabs] = []
    plan = [
        *((shape.logs[layer], shape.bits[layer]) for layer in range(1, shape.layers)),
        (shape.logs[-1], shape.comparison_bits),
        (0, shape.loser_bits),
    ]
    for log_width, bits in plan:
        start = slabs[-1].end if slabs else 0
        slabs.append(Slabs(start, shape.slab_rows(samples, log_width), bits))
    rows = AccuracyRows(tuple(slabs[:-2]), slabs[-2], slabs[-1])
    if rows.total << shape.log_columns > _MAX_ENTRIES:
        raise Rejected(
            Reason.PROOF_INVALID,
            f"expected at most {_MAX_ENTRIES} auxiliary entries, got {rows.total} rows",
        )
    return rows


@dataclass(frozen=True)
class LayerRows:
    """The auxiliary rows of one layer in a well-formedness proof."""

    first: int
    weight_rows: int

    def weight_bit(self, place: int) -> int:
        """The first row of one bit of W + 128."""
        return self.first + place * self.weight_rows

    def bias_bit(self, place: int) -> int:
        """The row of one bit of b + 2^bias_bits."""
        return self.weight_bit(8) + place


def wellformed_rows(shape: Shape) -> tuple[tuple[LayerRows, ...], int]:
    """The rows of each layer, and their number R; the limits of the shape bound it."""
    layers: list[LayerRows] = []
    end = 0
    for layer in range(1, shape.layers + 1):
        layers.append(LayerRows(end, shape.weight_rows(layer)))
        end = layers[-1].bias_bit(shape.bias_bits + 1)
    return tuple(layers), end


@dataclass(frozen=True)
class Sizes:
    """The numbers of units in a proof."""

    rows: int
    messages: int
    products: int
    folds: int
    tail: int

    @property
    def pads(self) -> int:
        """P: a pad per message, one per product, and the mask."""
        return self.messages + self.products + 1

    @property
    def proof_bytes(self) -> int:
        """The one length a proof can have."""
        units = self.rows + 1 + self.messages + 2 + 3 + self.pads + 2 + 2 * self.folds + self.tail
        return UNIT_BYTES * units


def accuracy_sizes(shape: Shape, samples: int) -> Sizes:
    """Sizes of an accuracy proof, by the formula of section 11."""
    rows = accuracy_rows(shape, samples).total
    nu, logs, layers = ceil_log(samples), shape.logs, shape.layers
    messages = 1 + 2 * (nu + logs[-1]) + 3
    messages += 2 * (nu + logs[-1]) + 1
    columns = 3 + _masked_columns(shape, samples, 0)
    for layer in range(1, layers + 1):
        before = logs[layer - 1]
        messages += 1 + 2 * before + (1 if layer == 1 else 3 + 2 * (nu + before) + 3)
        one_column = before < shape.log_columns - logs[layer]
        dim = shape.dims[layer - 1]
        columns += 1 + (1 if one_column else _masked_columns(shape, dim, logs[layer]))
    columns += layers - 1
    return _sizes(shape, rows, messages, columns, 2 + 3 * (layers - 1))


def wellformed_sizes(shape: Shape) -> Sizes:
    """Sizes of a well-formedness proof, by the formula of section 11."""
    columns = sum(
        3 + _masked_columns(shape, shape.dims[layer - 1], shape.logs[layer])
        for layer in range(1, shape.layers + 1)
    )
    return _sizes(shape, wellformed_rows(shape)[1], 0, columns, 0)


def _sizes(shape: Shape, rows: int, messages: int, columns: int, products: int) -> Sizes:
    """Adds what booleanity and the opening need."""
    messages += 2 * (ceil_log(rows) + shape.log_columns) + 1
    messages += 2 * shape.log_columns + columns + 1
    return Sizes(rows, messages, products + 1, shape.folds, shape.columns >> shape.folds)


def _masked_columns(shape: Shape, entries: int, log_width: int) -> int:
    """One column for full rows and one for a row that is cut off."""
    per_row = shape.columns >> log_width
    return (entries >= per_row) + (entries % per_row != 0)
