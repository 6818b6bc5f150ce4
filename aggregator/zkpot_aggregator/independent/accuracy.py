"""The accuracy statement: comparison, logits, layers, booleanity (section 8)."""

from dataclasses import dataclass

from zkpot_aggregator.independent.booleanity import booleanity
from zkpot_aggregator.independent.forms import Form, Message, combine
from zkpot_aggregator.independent.layout import Slabs, accuracy_rows
from zkpot_aggregator.independent.multilinear import (
    ORDER,
    ceil_log,
    dot,
    eq_at,
    eq_table,
    prefix,
)
from zkpot_aggregator.independent.replay import Entry, Replay, shifted
from zkpot_aggregator.independent.shape import Shape


@dataclass(frozen=True)
class Samples:
    """The public batch and the count that is claimed for it."""

    inputs: bytes
    labels: bytes
    count: int

    def __len__(self) -> int:
        return len(self.labels)


def replay_accuracy(shape: Shape, samples: Samples, replay: Replay) -> None:
    """Runs the statement; the commitment's rows follow the auxiliary rows."""
    run = _Accuracy(shape, samples, replay)
    r_n = replay.transcript.challenge_point(ceil_log(len(samples)))
    r_j = replay.transcript.challenge_point(shape.logs[-1])
    delta = replay.message()
    run.comparison(r_n, r_j, delta)
    z, at_n, at_h = run.logits(r_n, r_j, delta)
    for layer in range(shape.layers, 1, -1):
        a, at_k = run.affine(layer, z, at_n, at_h)
        z = run.activation(layer - 1, a, at_n, at_k)
        at_h = at_k
    run.first_affine(z, at_n, at_h)
    booleanity(replay)


class _Accuracy:
    """The parts of the statement, in the order of the document."""

    def __init__(self, shape: Shape, samples: Samples, replay: Replay) -> None:
        self._shape = shape
        self._samples = samples
        self._replay = replay
        self._rows = accuracy_rows(shape, len(samples))

    def comparison(self, r_n: list[int], r_j: list[int], delta: Message) -> None:
        """Section 8.1: who beats the label, who wins, and how often."""
        replay, log_samples = self._replay, len(r_n)
        factor = replay.transcript.challenge()
        final, point = replay.zero_check(-1 * delta.form, [*r_n, *r_j])
        nc, v, win = replay.message(), replay.message(), replay.message()
        nc_v = replay.multiply(nc, v)
        win_nc = replay.multiply(win, nc)
        replay.constraints.append(
            combine([(1, final), (1, v.form), (-1, nc.form), (-2, nc_v), (-factor, win_nc)])
        )
        self._comparison_claims(point[:log_samples], point[log_samples:], (nc, v, win))

    def _comparison_claims(
        self, a: list[int], b: list[int], messages: tuple[Message, Message, Message]
    ) -> None:
        replay, samples = self._replay, len(self._samples)
        comparison, winner = self._rows.comparison, self._rows.winner
        nc, v, win = messages
        entries = replay.tensor([(comparison.flag, 1)], samples, a, eq_table(b), masked=False)
        replay.claim(entries, nc.form)
        replay.claim(_number(comparison, entries, range(comparison.bits)), v.form)
        winners = replay.tensor([(winner.flag, 1)], samples, a, [1], masked=False)
        replay.claim(winners, win.form)
        ones = [1] * (1 << len(b))
        losses = replay.tensor([(comparison.flag, 1)], samples, a, ones, masked=False)
        excess = _number(winner, winners, range(winner.bits), scale=-1)
        replay.claim([*losses, *winners, *excess], Form(prefix(a, samples)))
        self._count()

    def _count(self) -> None:
        """The wins of the first N samples add up to the count."""
        replay, row = self._replay, self._rows.winner.flag
        full, rest = divmod(len(self._samples), replay.width)
        entries: list[Entry] = []
        if full:
            column = replay.column([1] * replay.width)
            entries += [Entry(column, row + i, 1) for i in range(full)]
        if rest:
            entries.append(Entry(replay.column([1] * rest), row + full, 1))
        replay.claim(entries, Form(self._samples.count))

    def logits(
        self, r_n: list[int], r_j: list[int], delta: Message
    ) -> tuple[Message, list[int], list[int]]:
        """Section 8.2: from comparisons to one evaluation of the logits."""
        replay, labels = self._replay, self._samples.labels
        eq_n, eq_j = eq_table(r_n), eq_table(r_j)
        ties = sum(weight * sum(eq_j[:label]) for weight, label in zip(eq_n, labels, strict=False))
        claim = delta.form + Form(ties % ORDER)
        final, point = replay.sumcheck(claim, len(r_n) + len(r_j))
        at_n, at_h = point[: len(r_n)], point[len(r_n) :]
        z = replay.message()
        eq_h = eq_table(at_h)
        own = dot(
            (x * y % ORDER for x, y in zip(eq_n, eq_table(at_n), strict=True)),
            (eq_h[label] for label in labels),
        )
        table = sum(eq_j[: self._shape.classes]) * own - eq_at(r_n, at_n) * eq_at(r_j, at_h)
        replay.constraints.append(final - table * z.form)
        return z, at_n, at_h

    def affine(
        self, layer: int, z: Message, at_n: list[int], at_h: list[int]
    ) -> tuple[Message, list[int]]:
        """Section 8.3, l > 1: from outputs of a layer to its weights and its inputs."""
        replay = self._replay
        final, at_k, across = self._layer(layer, z, at_n, at_h)
        a, w = replay.message(), replay.message()
        replay.constraints.append(final - replay.multiply(a, w))
        replay.claim(self._weights(layer, at_k, across), w.form)
        return a, at_k

    def first_affine(self, z: Message, at_n: list[int], at_h: list[int]) -> None:
        """Section 8.3, l = 1: the inputs are public."""
        replay, dim, inputs = self._replay, self._shape.dims[0], self._samples.inputs
        final, at_k, across = self._layer(1, z, at_n, at_h)
        w = replay.message()
        eq_k = eq_table(at_k)
        sums = (dot(eq_k, inputs[start : start + dim]) for start in range(0, len(inputs), dim))
        replay.constraints.append(final - dot(eq_table(at_n), sums) * w.form)
        replay.claim(self._weights(1, at_k, across), w.form)

    def _layer(
        self, layer: int, z: Message, at_n: list[int], at_h: list[int]
    ) -> tuple[Form, list[int], list[int]]:
        """The bias, and the sumcheck over the layer's inputs; eq(at_h) inside the true dims."""
        replay, shape = self._replay, self._shape
        bias = replay.message()
        inside = eq_table(at_h)[: shape.dims[layer]]
        column = replay.column(inside)
        replay.claim([Entry(column, replay.sizes.rows + shape.bias_row(layer), 1)], bias.form)
        claim = z.form - prefix(at_n, len(self._samples)) * bias.form
        final, at_k = replay.sumcheck(claim, shape.logs[layer - 1])
        return final, at_k, [*inside, *[0] * ((1 << len(at_h)) - len(inside))]

    def _weights(self, layer: int, at_k: list[int], across: list[int]) -> list[Entry]:
        base = self._replay.sizes.rows + self._shape.weight_row(layer)
        dim = self._shape.dims[layer - 1]
        return self._replay.tensor([(base, 1)], dim, at_k, across, masked=True)

    def activation(self, layer: int, a: Message, at_n: list[int], at_k: list[int]) -> Message:
        """Section 8.3: from the activations of a hidden layer to its sums."""
        replay, slabs, shift = (
            self._replay,
            self._rows.hidden[layer - 1],
            self._shape.shifts[layer - 1],
        )
        z = replay.message()
        factor = replay.transcript.challenge()
        final, point = replay.zero_check(a.form + factor * z.form, [*at_n, *at_k])
        neg, high, low = replay.message(), replay.message(), replay.message()
        neg_high, neg_low = replay.multiply(neg, high), replay.multiply(neg, low)
        size = 1 << shift
        replay.constraints.append(
            combine(
                [
                    (1, final),
                    (-1, high.form),
                    (1, neg_high),
                    (-factor * size, high.form),
                    (-factor, low.form),
                    (2 * factor * size, neg_high),
                    (2 * factor, neg_low),
                    (factor, neg.form),
                ]
            )
        )
        split = len(at_n)
        entries = replay.tensor(
            [(slabs.flag, 1)],
            len(self._samples),
            point[:split],
            eq_table(point[split:]),
            masked=False,
        )
        replay.claim(entries, neg.form)
        replay.claim(_number(slabs, entries, range(shift)), low.form)
        replay.claim(_number(slabs, entries, range(shift, slabs.bits)), high.form)
        return z


def _number(slabs: Slabs, entries: list[Entry], places: range, scale: int = 1) -> list[Entry]:
    """The functional on the number whose lowest bit is `places[0]`, times `scale`."""
    return [
        entry
        for place in places
        for entry in shifted(
            entries, slabs.bit(place) - slabs.flag, scale << (place - places.start)
        )
    ]
