"""Scatter plots, side by side, as an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_SIDE, _MARGIN, _ACROSS = 260, 60, 3


@dataclass(frozen=True)
class Panel:
    """One plot: finite points, and what its axes say."""

    title: str
    across: str
    up: str
    points: Sequence[tuple[float, float]]


def scatter(panels: Sequence[Panel]) -> str:
    """Draw panels in rows of three."""
    step = _SIDE + _MARGIN
    columns = max(1, min(_ACROSS, len(panels)))
    rows = max(1, -(-len(panels) // _ACROSS))
    width, height = columns * step + 20, rows * step + 20
    drawn = [
        f'<g transform="translate({_MARGIN + i % _ACROSS * step},{30 + i // _ACROSS * step})">'
        f"{_panel(panel)}</g>"
        for i, panel in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11">{"".join(drawn)}</svg>\n'
    )


def _panel(panel: Panel) -> str:
    xs, ys = zip(*panel.points, strict=True) if panel.points else ((0.0,), (0.0,))
    size = _SIDE - 40
    parts = [
        f'<rect width="{size}" height="{size}" fill="none" stroke="#999999"/>',
        _text(size / 2, -8, panel.title),
        _text(size / 2, size + 28, panel.across),
        f'<g transform="translate(-38,{size / 2}) rotate(-90)">{_text(0, 0, panel.up)}</g>',
        _text(0, size + 14, f"{min(xs):.4g}"),
        _text(size, size + 14, f"{max(xs):.4g}"),
        _text(-4, size, f"{min(ys):.4g}", "end"),
        _text(-4, 10, f"{max(ys):.4g}", "end"),
    ]
    for x, y in panel.points:
        left, top = size * _share(x, xs), size * (1 - _share(y, ys))
        parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="#0072b2" opacity="0.6"/>')
    return "".join(parts)


def _share(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return (value - low) / (high - low) if high > low else 0.5


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
