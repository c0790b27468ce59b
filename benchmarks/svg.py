"""
Pictures: bars and lines, as SVG, in colours that both a light and a dark page bear.
"""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

__all__ = ("bars", "groups", "lines")

OURS, OTHERS, QUIET = "#d9730d", "#6b8fb3", "#808890"
PALETTE = (OURS, OTHERS, "#7a9e4e", "#a06bb3", QUIET, "#b35c5c")
WIDTH, LABELS, STEP = 820, 330, 26


def bars(title: str, values: Sequence[tuple[str, float, bool]]) -> str:
    """
    Draw one bar for each of *values*.

    Args:
        title: Above them.
        values: Label, size, and whether it is ours.
    """
    most = max((size for _, size, _ in values), default=1.0) or 1.0
    room = WIDTH - LABELS - 80
    parts = []
    for number, (label, size, ours) in enumerate(values):
        top = 46 + STEP * number
        width = room * size / most
        colour = OURS if ours else OTHERS
        parts.append(_text(LABELS - 8, top + 14, label, anchor="end"))
        parts.append(_rectangle(LABELS, top, width, 18, colour))
        parts.append(_text(LABELS + width + 6, top + 14, f"{size:,.0f}"))
    return _picture(title, parts, 60 + STEP * len(values))


def groups(
    title: str,
    legend: Sequence[str],
    values: Sequence[tuple[str, Sequence[tuple[float, str] | None]]],
) -> str:
    """
    Draw a group of bars for each of *values*, in a colour for each of *legend*.

    Args:
        title: Above them.
        legend: Whose the bars of each group are, in their order; six at most.
        values: Label, and the size of each bar with what is written beside it; None
            where there is none.
    """
    thick = 15
    sizes = [bar[0] for _, some in values for bar in some if bar]
    most = max((size for size in sizes if math.isfinite(size)), default=1.0) or 1.0
    room = WIDTH - LABELS - 170
    parts, top, x = [], 62, 12
    for colour, name in zip(PALETTE, legend, strict=False):
        parts.append(_rectangle(x, 38, 12, 12, colour))
        parts.append(_text(x + 18, 49, name))
        x += 40 + 7 * len(name)
    for label, some in values:
        drawn = [
            (colour, *bar)
            for colour, bar in zip(PALETTE, some, strict=False)
            if bar is not None and math.isfinite(bar[0])
        ]
        middle = top + thick * len(drawn) / 2
        parts.append(_text(LABELS - 8, middle + 3, label, anchor="end"))
        for colour, size, text in drawn:
            width = room * size / most
            parts.append(_rectangle(LABELS, top, width, thick - 3, colour))
            parts.append(_text(LABELS + width + 6, top + 11, text))
            top += thick
        top += 12
    return _picture(title, parts, top + 4)


def lines(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    across: str,
    up: str,
    logarithmic: bool = False,
) -> str:
    """
    Draw a line for each of *series*.

    Args:
        title: Above them.
        series: Label and points.
        across: What goes to the right.
        up: What goes upwards.
        logarithmic: Whether what goes to the right does so by its logarithm.
    """
    left, top, width, height = 70, 50, WIDTH - 270, 260
    points = [point for _, some in series for point in some]
    if not points:
        return _picture(title, [], 60)

    def scale(x: float) -> float:
        return math.log10(x) if logarithmic else x

    first = min(scale(x) for x, _ in points)
    last = max(scale(x) for x, _ in points)
    most = max(y for _, y in points) or 1.0
    wide = (last - first) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + width * (scale(x) - first) / wide,
            top + height * (1 - y / most),
        )

    axes = f"M{left} {top}V{top + height}H{left + width}"
    parts = [
        f'<path d="{axes}" fill="none" stroke="{QUIET}"/>',
        _text(left + width / 2, top + height + 40, across, anchor="middle"),
        _text(left, top - 8, up),
    ]
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        parts.append(_text(left - 6, y + 4, f"{most * share:,.4g}", anchor="end"))
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, 0.0)
        parts.append(_text(at, top + height + 18, f"{x:,g}", anchor="middle"))
    for number, (label, some) in enumerate(series):
        colour = PALETTE[number % len(PALETTE)]
        path = "L".join("{:.1f} {:.1f}".format(*place(*point)) for point in some)
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        x, y = left + width + 20, top + 10 + 22 * number
        parts.append(_rectangle(x, y - 9, 12, 12, colour))
        parts.append(_text(x + 18, y + 2, label))
    return _picture(title, parts, top + height + 56)


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="2" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{QUIET}">'
        f"{escape(text)}</text>"
    )


def _picture(title: str, parts: Sequence[str], height: float) -> str:
    box = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    font = 'font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box} {font} role="img">'
    big = f'<text x="12" y="24" font-size="16" fill="{QUIET}">{escape(title)}</text>'
    return "\n".join((head, f"<title>{escape(title)}</title>", big, *parts, "</svg>\n"))
