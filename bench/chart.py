"""Small line charts with logarithmic axes, as SVG, with nothing but the standard library."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 300, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 26, 38
COLOURS = ("#1f6fb4", "#c8551b")
INK, PALE = "#333", "#ddd"

_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Series:
    """A labelled line through (x, y), all above 0."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One chart; `title` names the horizontal axis and `unit` the vertical one."""

    title: str
    unit: str
    series: tuple[Series, ...]


def chart(panels: Sequence[Panel], columns: int) -> str:
    """The panels in a grid, row by row; panels of one row share their vertical scale."""
    rows = math.ceil(len(panels) / columns)
    width, height = columns * WIDTH, rows * HEIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="10" '
        f'fill="{INK}">'
    )
    lines = [head, f'<rect width="{width}" height="{height}" fill="white"/>']
    for row in range(rows):
        beside = panels[row * columns : (row + 1) * columns]
        scale = _Scale.of([y for panel in beside for line in panel.series for _, y in line.points])
        for column, panel in enumerate(beside):
            lines.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">')
            lines.extend(_panel(panel, scale))
            lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Scale:
    """A logarithmic axis from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Scale":
        below = [tick for tick in _ticks(1e-3, 1e7) if tick <= min(values)]
        above = [tick for tick in _ticks(1e-3, 1e7) if tick >= max(values)]
        return cls(below[-1], max(above[0], below[-1] * 10))

    def place(self, value: float, start: float, end: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return start + part * (end - start)

    def ticks(self) -> list[float]:
        every = list(_ticks(self.low, self.high))
        wide = len(every) > 8
        return [tick for tick in every if not wide or math.log10(tick).is_integer()]


def _ticks(low: float, high: float) -> Iterator[float]:
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for step in _STEPS:
            value = float(f"{step}e{exponent}")
            if low <= value <= high:
                yield value


def _panel(panel: Panel, vertical: _Scale) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    xs = sorted({x for line in panel.series for x, _ in line.points})
    horizontal = _Scale(xs[0], xs[-1])
    yield f'<text x="{LEFT}" y="{TOP - 10}">{escape(panel.unit)}</text>'
    yield (
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(panel.title)}</text>"
    )
    for tick in vertical.ticks():
        y = vertical.place(tick, bottom, TOP)
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="{PALE}"/>'
        yield f'<text x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{tick:g}</text>'
    for x in xs:
        place = horizontal.place(x, LEFT, right)
        yield f'<path d="M{place:.1f} {bottom}v4" stroke="{INK}"/>'
        yield f'<text x="{place:.1f}" y="{bottom + 14}" text-anchor="middle">{_short(x)}</text>'
    yield f'<path d="M{LEFT} {bottom}H{right}" stroke="{INK}"/>'
    for line, colour in zip(panel.series, COLOURS, strict=False):
        places = [
            (horizontal.place(x, LEFT, right), vertical.place(y, bottom, TOP))
            for x, y in line.points
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>'
        if len(panel.series) > 1:
            x, y = places[len(places) // 2]
            yield (
                f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" fill="{colour}">'
                f"{escape(line.label)}</text>"
            )


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value % 1000 == 0 else f"{value:g}"
