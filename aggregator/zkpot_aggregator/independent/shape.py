"""The shape of a model, and all that section 3 derives from it.

Everything is a function of dims, shifts and bias bits. Layers are counted from 1 as in the
document; `widths[l]` is D_l, `logs[l]` is p_l, and `bits[l]` is n_l (index 0 of `bits` is
unused). A shape beyond the limits is refused before anything of its size is allocated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.multilinear import ceil_log

_MAX_LAYERS = 64
_MAX_BIAS_BITS = 30
_MAX_INPUTS = 2**20
_MAX_HIDDEN = 2**14
_MAX_CLASSES = 256
_MAX_BITS = 45
_MAX_COMMITMENT_ENTRIES = 2**27
_MAX_SAMPLES = 2**16
_MAX_INPUT_BYTES = 2**31


@dataclass(frozen=True)
class Shape:
    """A shape within the limits; build it with `checked_shape`."""

    dims: tuple[int, ...]
    shifts: tuple[int, ...]
    bias_bits: int
    logs: tuple[int, ...]
    log_columns: int
    bits: tuple[int, ...]

    @property
    def layers(self) -> int:
        """The number of layers, L."""
        return len(self.dims) - 1

    @property
    def classes(self) -> int:
        """The number of classes, d_L."""
        return self.dims[-1]

    @property
    def columns(self) -> int:
        """The length of a row, m."""
        return 1 << self.log_columns

    @property
    def folds(self) -> int:
        """The number of folds, f."""
        return (self.log_columns - 3) // 2

    @property
    def comparison_bits(self) -> int:
        """The bits of a comparison, v."""
        return self.bits[-1] + 1

    @property
    def loser_bits(self) -> int:
        """The bits of the gadget for losers, g."""
        return self.classes.bit_length()

    def slab_rows(self, entries: int, log_width: int) -> int:
        """The rows of a slab of `entries` lines of 2^log_width places."""
        return -(-(entries << log_width) // self.columns)

    def weight_rows(self, layer: int) -> int:
        """The weight rows of a layer, w_l."""
        return self.slab_rows(self.dims[layer - 1], self.logs[layer])

    @property
    def commitment_rows(self) -> int:
        """The rows of a commitment, T."""
        return sum(self.weight_rows(layer) + 1 for layer in range(1, self.layers + 1))

    def weight_row(self, layer: int) -> int:
        """The first weight row of a layer within the commitment, base_W(l)."""
        return sum(self.weight_rows(before) + 1 for before in range(1, layer))

    def bias_row(self, layer: int) -> int:
        """The bias row of a layer within the commitment, base_b(l)."""
        return self.weight_row(layer) + self.weight_rows(layer)


def checked_shape(dims: Sequence[int], shifts: Sequence[int], bias_bits: int) -> Shape:
    """A shape; raises `Rejected` (PROOF_INVALID) outside the limits of section 3."""
    layers = len(dims) - 1
    _require(1 <= layers <= _MAX_LAYERS, f"1 to {_MAX_LAYERS} layers, got {layers}")
    _require(len(shifts) == layers - 1, f"{layers - 1} shifts, got {len(shifts)}")
    _require(0 <= bias_bits <= _MAX_BIAS_BITS, f"at most {_MAX_BIAS_BITS} bias bits")
    maxima = (_MAX_INPUTS, *[_MAX_HIDDEN] * (layers - 1), _MAX_CLASSES)
    for dim, maximum in zip(dims, maxima, strict=True):
        _require(1 <= dim <= maximum, f"a dim of 1 to {maximum}, got {dim}")
    logs = tuple(map(ceil_log, dims))
    log_columns = _log_columns(logs)
    _require(max(logs[1:]) <= log_columns, "layers no wider than a row")
    shape = Shape(
        tuple(dims), tuple(shifts), bias_bits, logs, log_columns, _bits(dims, shifts, bias_bits)
    )
    _require(
        shape.commitment_rows << log_columns <= _MAX_COMMITMENT_ENTRIES,
        f"a commitment of at most {_MAX_COMMITMENT_ENTRIES} entries",
    )
    return shape


def check_samples(shape: Shape, samples: int) -> None:
    """Raises `Rejected` (PROOF_INVALID) for a batch size outside the limits of section 3."""
    _require(1 <= samples <= _MAX_SAMPLES, f"1 to {_MAX_SAMPLES} samples, got {samples}")
    _require(samples * shape.dims[0] <= _MAX_INPUT_BYTES, f"at most {_MAX_INPUT_BYTES} input bytes")


def _log_columns(logs: Sequence[int]) -> int:
    """The logarithm of the number of columns, kappa."""
    width = sum(1 << log for log in logs[1:])
    area = sum(1 << before + log for before, log in pairwise(logs))
    return min(14, max(6, 2 + ceil_log(width), (ceil_log(area) + 1) // 2))


def _bits(dims: Sequence[int], shifts: Sequence[int], bias_bits: int) -> tuple[int, ...]:
    """(unused, n_1, ..., n_L) by the static bounds."""
    bits, bound = [0], 255
    for dim, shift in zip(dims[:-1], (*shifts, None), strict=True):
        bits.append((128 * dim * bound + (1 << bias_bits)).bit_length())
        _require(bits[-1] <= _MAX_BITS, f"sums of at most {_MAX_BITS} bits, got {bits[-1]}")
        if shift is not None:
            _require(0 <= shift < bits[-1], f"a shift of 0 to {bits[-1] - 1}, got {shift}")
            bound = (1 << (bits[-1] - shift)) - 1
    return tuple(bits)


def _require(condition: bool, expected: str) -> None:
    if not condition:
        raise Rejected(Reason.PROOF_INVALID, f"no statement has this shape: expected {expected}")
