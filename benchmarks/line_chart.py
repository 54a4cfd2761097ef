"""A chart with a few lines as an SVG file, for the documentation."""

from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH = 960
PANEL_HEIGHT = 210
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 40
COLOURS = ("#0369a1", "#b45309", "#047857", "#7e22ce", "#be123c")

_STYLE = """
      .title { font-size: 15px; font-weight: bold; fill: #0f172a }
      .text { font-size: 13px; fill: #334155 }
      .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
      .grid { stroke: #e2e8f0 }
"""


class Line(NamedTuple):
    """One line of a panel: its name in the legend, and its points."""

    name: str
    points: list[tuple[float, float]]


class Panel(NamedTuple):
    """Lines above a common axis that begins at 0 on both sides."""

    title: str
    x_name: str
    lines: list[Line]


def chart(title: str, panels: list[Panel]) -> str:
    """The SVG, with one panel below the other."""
    height = len(panels) * (PANEL_HEIGHT + TOP + BOTTOM)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        '     aria-labelledby="title" font-family="DejaVu Sans, Helvetica, Arial, sans-serif">',
        f'  <title id="title">{escape(title)}</title>',
        f"  <style>{_STYLE}  </style>",
        f'  <rect width="{WIDTH}" height="{height}" rx="10" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, number * (PANEL_HEIGHT + TOP + BOTTOM) + TOP)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, top: float) -> list[str]:
    points = [point for line in panel.lines for point in line.points]
    x_step, x_end = _scale(max(x for x, _ in points), steps=10)
    y_step, y_end = _scale(max(y for _, y in points), steps=4)
    bottom = top + PANEL_HEIGHT
    right = WIDTH - RIGHT

    def x_of(value: float) -> float:
        return LEFT + value / x_end * (right - LEFT)

    def y_of(value: float) -> float:
        return bottom - value / y_end * PANEL_HEIGHT

    parts = [f'  <text class="title" x="{LEFT}" y="{top - 16}">{escape(panel.title)}</text>']
    for count in range(round(y_end / y_step) + 1):
        y = y_of(count * y_step)
        parts += [
            f'  <path class="grid" d="M{LEFT} {y:.1f}H{right}"/>',
            (
                f'  <text class="text" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{count * y_step:g}</text>"
            ),
        ]
    for count in range(round(x_end / x_step) + 1):
        parts.append(
            f'  <text class="text" x="{x_of(count * x_step):.1f}" y="{bottom + 18}"'
            f' text-anchor="middle">{count * x_step:g}</text>'
        )
    parts.append(
        f'  <text class="text" x="{right}" y="{bottom + 34}" text-anchor="end">'
        f"{escape(panel.x_name)}</text>"
    )
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in line.points)
        x = right - 90 * (len(panel.lines) - number)
        parts += [
            f'  <path class="line" stroke="{colour}" d="M{path}"/>',
            f'  <path class="line" stroke="{colour}" d="M{x} {top - 20}h20"/>',
            f'  <text class="text" x="{x + 26}" y="{top - 16}">{escape(line.name)}</text>',
        ]
    return parts


def _scale(largest: float, *, steps: int) -> tuple[float, float]:
    """A round step, and the first multiple of it that is not below the largest value."""
    step = 1.0
    for step in (f * 10**e for e in range(-3, 12) for f in (1, 2, 5)):
        if largest <= step * steps:
            break
    count = max(1, -(-largest // step))
    return step, count * step
