"""Charts: curves as an SVG picture with a logarithmic scale, and as a line of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 50

# Okabe, Ito: colours that people with any colour vision can tell apart; then the same, dashed.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], low: float, high: float, width: int = 20) -> str:
    """Return a curve as bars on a logarithmic scale from ``low`` to ``high``, both above 0."""
    places = [round(i * (len(values) - 1) / max(1, width - 1)) for i in range(width)]
    bars = ""
    for value in (values[i] for i in places):
        share = _share(value, low, high)
        bars += " " if math.isnan(share) else _BARS[round(share * (len(_BARS) - 1))]
    return bars


def log_chart(title: str, across: str, up: str, curves: Mapping[str, Sequence[float]]) -> str:
    """Return an SVG of curves by name, the first value at 1, on a logarithmic vertical scale.

    What is not above 0 or not finite is left out of a curve.
    """
    shown = [v for curve in curves.values() for v in curve if v > 0 and math.isfinite(v)]
    low, high = (min(shown), max(shown)) if shown else (0.1, 1.0)
    low, high = low / 1.1, high * 1.1
    longest = max((len(curve) for curve in curves.values()), default=1)

    def x(place: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (place - 1) / max(1, longest - 1)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * _share(value, low, high)

    parts = [_text(_LEFT, 22, title, size=15)]
    parts += [_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, across, "middle")]
    parts += [_text(12, _TOP - 10, up)]
    for value in _ticks(low, high):
        parts.append(_line([(_LEFT, y(value)), (_WIDTH - _RIGHT, y(value))], "#dddddd", 1))
        parts.append(_text(_LEFT - 6, y(value) + 4, f"{value:g}", "end"))
    for place in sorted({1, *(round(longest * share / 4) for share in range(1, 5))}):
        if place:
            parts.append(_text(x(place), _HEIGHT - _BOTTOM + 18, str(place), "middle"))
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = "" if number < len(_COLOURS) else "6 3"
        points = [(x(i), y(v)) for i, v in enumerate(curve, 1) if v > 0 and math.isfinite(v)]
        parts.append(_line(points, colour, 2, dash))
        height = _TOP + 10 + 18 * number
        begin = _WIDTH - _RIGHT + 12
        parts.append(_line([(begin, height), (begin + 22, height)], colour, 2, dash))
        parts.append(_text(begin + 28, height + 4, name))
    body = "\n".join(parts)
    tall = max(_HEIGHT, _TOP + 30 + 18 * len(curves))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {tall}" '
        f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n'
        "</svg>\n"
    )


def _share(value: float, low: float, high: float) -> float:
    """Return where a value lies on a logarithmic scale, 0 to 1; NaN for what is not finite."""
    if not math.isfinite(value):
        return math.nan
    if value <= low or high <= low:
        return 0.0
    return min(1.0, math.log(value / low) / math.log(high / low))


def _ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _line(points: Sequence[tuple[float, float]], colour: str, width: int, dash: str = "") -> str:
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
