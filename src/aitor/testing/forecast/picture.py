"""
A picture of a forecast, as SVG: what happened over time, one panel above the other.

Answers a second, requests that wait, calls that run, and the circuits, all on one axis
of time. It shows the part that was simulated and nothing that was not.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from aitor.terminal import one_line
from aitor.testing.forecast.history import CIRCUITS, Sample
from aitor.testing.forecast.result import Forecast

__all__ = ("draw",)

PALETTE = ("#c65d07", "#2f6fa8", "#5a8f29", "#8a4fa3", "#a8323e", "#5c6670")
CIRCUIT_COLOURS = dict(zip(CIRCUITS, ("#cfe3c4", "#f0c24b", "#c8402f"), strict=True))
INK = "#2b2f33"
DARK, FAINT = f'stroke="{INK}"', 'stroke="#d5d8dc"'

WIDTH, LEFT, RIGHT = 900, 78, 24
CHARACTER = 7.5
"""What a character takes, about, so that labels keep apart."""

PANEL, GAP, BAND = 130, 54, 18

UNITS = ((2 * 86_400.0, 86_400.0, "days"), (7_200.0, 3_600.0, "hours"))
"""From so many seconds on, seconds in a unit of the axis, and its name."""

SMOOTH = 40
"""The part of the whole time that a pace is taken over."""

Points = list[tuple[float, float]]


def draw(forecast: Forecast, title: str) -> str:
    """
    Return the picture of *forecast*.

    Args:
        forecast: What is drawn.
        title: Above it.
    """
    names = list(forecast.providers)
    samples = forecast.samples
    axis = _Axis(samples[-1].time)
    panels: list[tuple[str, Callable[[str], Points]]] = [
        ("answers a second", lambda name: _paces(samples, name)),
        ("requests waiting", lambda n: [(one.time, one.waiting[n]) for one in samples]),
        ("calls running", lambda n: [(one.time, one.running[n]) for one in samples]),
    ]
    legend, top = _legend(names, 54.0)
    parts = [*_head(title, forecast), *legend]
    top += 42
    for label, points in panels:
        parts += _panel(axis, top, label, [points(name) for name in names])
        top += PANEL + GAP
    parts += _circuits(axis, top, samples, names)
    top += (BAND + 6) * len(names) + 34
    parts.append(_text(axis.middle, top, f"time, in {axis.unit}", anchor="middle"))
    return _document(title, parts, top + 16)


class _Axis:
    """The axis of time, which all panels share."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds or 1.0
        self._scale, self.unit = 1.0, "seconds"
        if seconds > 240:
            self._scale, self.unit = 60.0, "minutes"
        for least, scale, unit in reversed(UNITS):
            if seconds >= least:
                self._scale, self.unit = scale, unit
        self.width = WIDTH - LEFT - RIGHT
        self.middle = LEFT + self.width / 2

    def place(self, time: float) -> float:
        """Return where *time* is."""
        return LEFT + self.width * time / self._seconds

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield places, and what stands there."""
        last = self._seconds / self._scale
        step = _step(last, 8)
        for number in range(math.floor(last / step + 1e-9) + 1):
            yield self.place(number * step * self._scale), f"{number * step:,g}"


def _step(most: float, parts: int) -> float:
    """Return a round number of which about *parts* make up *most*."""
    raw = (most or 1.0) / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return next(size * power for size in (1, 2, 5, 10) if size * power >= raw)


def _paces(samples: Sequence[Sample], name: str) -> Points:
    """Return answers a second, over a small part of the whole time."""
    far = max(1, len(samples) // SMOOTH)
    points = []
    for number in range(1, len(samples)):
        before, now = samples[max(0, number - far)], samples[number]
        answers = now.sums[name, "answers"] - before.sums[name, "answers"]
        seconds = now.time - before.time
        if seconds > 0:
            points.append((now.time, answers / seconds))
    return points


# Parts of the picture.


def _head(title: str, forecast: Forecast) -> Iterator[str]:
    yield _text(16, 26, title, size=16, weight="600")
    if forecast.simulated < forecast.requests:
        part = f"the first {forecast.simulated:,} requests, which were simulated"
        yield _text(WIDTH - RIGHT, 26, part, anchor="end")


def _legend(names: Sequence[str], y: float) -> tuple[list[str], float]:
    """Return the names in their colours, and where the last of them stand."""
    parts: list[str] = []
    x = float(LEFT)
    for number, name in enumerate(names):
        width = 44 + CHARACTER * len(name)
        if x > LEFT and x + width > WIDTH:
            x, y = float(LEFT), y + 20
        parts.append(_line(x, y - 4, x + 16, y - 4, _stroke(number, 3)))
        parts.append(_text(x + 22, y, name))
        x += width
    return parts, y


def _panel(axis: _Axis, top: float, label: str, lines: Sequence[Points]) -> list[str]:
    bottom = top + PANEL
    highest = max((y for points in lines for _, y in points), default=0.0)
    step = _step(highest, 4)
    most = step * max(1, math.ceil(highest / step - 1e-9))
    parts = [_text(LEFT, top - 10, label, weight="600")]
    for number in range(round(most / step) + 1):
        y = bottom - PANEL * number * step / most
        parts.append(_line(LEFT, y, LEFT + axis.width, y, FAINT))
        parts.append(_text(LEFT - 8, y + 4, f"{number * step:,g}", anchor="end"))
    parts += _time_marks(axis, bottom)
    for number, points in enumerate(lines):
        path = "L".join(
            f"{axis.place(time):.1f} {bottom - PANEL * y / most:.1f}"
            for time, y in points
        )
        if path:
            parts.append(
                f'<path d="M{path}" fill="none" {_stroke(number, 1.6)} '
                f'stroke-linejoin="round"/>'
            )
    return parts


def _time_marks(axis: _Axis, y: float) -> Iterator[str]:
    yield _line(LEFT, y, LEFT + axis.width, y, DARK)
    for x, words in axis.ticks():
        yield _line(x, y, x, y + 4, DARK)
        yield _text(x, y + 17, words, anchor="middle")


def _circuits(
    axis: _Axis, top: float, samples: Sequence[Sample], names: Sequence[str]
) -> Iterator[str]:
    yield _text(LEFT, top - 10, "circuits", weight="600")
    x = LEFT + 90.0
    for state, colour in CIRCUIT_COLOURS.items():
        yield _rectangle(x, top - 20, 14, 10, colour)
        yield _text(x + 20, top - 10, state)
        x += 44 + CHARACTER * len(state)
    for name in names:
        yield _text(LEFT - 8, top + 13, _short(name), anchor="end")
        for begin, end, state in _spans(samples, name):
            left, right = axis.place(begin), axis.place(end)
            yield _rectangle(left, top, right - left, BAND, CIRCUIT_COLOURS[state])
        top += BAND + 6
    yield from _time_marks(axis, top)


def _spans(samples: Sequence[Sample], name: str) -> Iterator[tuple[float, float, str]]:
    """Yield from when to when a circuit was in which state."""
    begin, state = 0.0, samples[0].circuits[name]
    previous = 0.0
    for sample in samples:
        if sample.circuits[name] != state:
            yield begin, previous, state
            begin, state = previous, sample.circuits[name]
        previous = sample.time
    yield begin, previous, state


def _short(name: str) -> str:
    return name if len(name) <= 9 else f"{name[:8]}…"


def _stroke(number: int, width: float, /) -> str:
    """Return the stroke of the provider with that *number*, unlike all others."""
    dashes, colour = divmod(number, len(PALETTE))
    dashed = f' stroke-dasharray="{6 / dashes:g} 3"' if dashes else ""
    return f'stroke="{PALETTE[colour]}" stroke-width="{width:g}"{dashed}'


# SVG.


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "400",
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style} fill="{INK}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    # What steers a terminal has no place in XML either, not even escaped.
    return escape(one_line(text))


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f"<line {ends} {stroke}/>"


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{max(width, 0.0):.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>'


def _document(title: str, parts: Sequence[str], height: float) -> str:
    box = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" '
        f'role="img">'
    )
    # A page of its own, so that it can be read on a dark one.
    page = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join(
        (head, f"<title>{_escaped(title)}</title>", page, *parts, "</svg>\n")
    )
