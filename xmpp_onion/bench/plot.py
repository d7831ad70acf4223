"""Charts as SVG: text in, text out, without a library.

They are drawn for a white background and bring it along, so that they can be read in
a dark page as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

__all__ = ["Bars", "Lines", "draw"]

Point: TypeAlias = tuple[float, float]

# Wong's colours, which people see apart who do not see all colours (Nature Methods
# 8, 441, 2011).
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_WIDTH: Final = 380
_HEIGHT: Final = 250
_LEFT: Final = 52
_RIGHT: Final = 66
_TOP: Final = 34
_BOTTOM: Final = 42
_TITLE: Final = 34
_COLUMNS: Final = 2
_TICKS: Final = 4
_LETTERS: Final = 52  # of a title, in a line
_BAR: Final = 13
_LABEL_GAP: Final = 13


@dataclass(frozen=True, slots=True)
class Lines:
    """A chart of lines.

    Attributes:
        title: What it shows.
        across: What goes to the right, with its unit.
        up: What goes up, with its unit.
        series: Points by name, in the order of what goes to the right.
    """

    title: str
    across: str
    up: str
    series: Mapping[str, Sequence[Point]]

    @property
    def is_wide(self) -> bool:
        """Whether there is more than one place to the right."""
        return len({x for each in self.series.values() for x, _ in each}) > 1

    def render(self, colours: Mapping[str, str]) -> str:
        """Return it as SVG, in a panel whose corner is at 0, 0."""
        points = [point for each in self.series.values() for point in each]
        right, top = _nice(max(x for x, _ in points)), _nice(max(y for _, y in points))
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

        def place(point: Point) -> Point:
            x, y = point
            return _LEFT + wide * x / right, _TOP + high * (1 - y / top)

        parts = [_text(_LEFT, 18, self.title[:_LETTERS], size=13, bold=True)]
        for step in range(_TICKS + 1):
            x, y = place((right * step / _TICKS, top * step / _TICKS))
            parts += [
                _line((_LEFT, y), (_LEFT + wide, y), "#dddddd"),
                _text(_LEFT - 6, y + 4, _number(top * step / _TICKS), anchor="end"),
                _text(
                    x,
                    _TOP + high + 16,
                    _number(right * step / _TICKS),
                    anchor="middle",
                ),
            ]
        parts += [
            _text(_LEFT + wide / 2, _HEIGHT - 8, self.across, anchor="middle"),
            _text(_LEFT - 44, _TOP - 12, self.up, size=10),
        ]
        ends = {}
        for name, series in self.series.items():
            placed = [place(point) for point in series]
            parts.append(_path(placed, colours[name]))
            ends[name] = placed[-1]
        parts += _labels(ends, colours)
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Bars:
    """A chart of bars that lie, some for each row.

    Attributes:
        title: What it shows; empty if the picture says it.
        rows: Values by name, by what the row is of.
    """

    title: str
    rows: Mapping[str, Mapping[str, float]]

    @property
    def height(self) -> float:
        """How much room it takes."""
        bars = sum(len(row) for row in self.rows.values())
        title = _TOP if self.title else 0
        return title + bars * _BAR + len(self.rows) * 24 + 8

    def render(self, colours: Mapping[str, str]) -> str:
        """Return it as SVG, in a panel whose corner is at 0, 0."""
        longest = max(value for row in self.rows.values() for value in row.values())
        wide = _COLUMNS * _WIDTH - _LEFT - _RIGHT - 60
        parts, y = [], 0.0
        if self.title:
            parts.append(_text(_LEFT, 18, self.title, size=13, bold=True))
            y = float(_TOP)
        for title, row in self.rows.items():
            parts.append(_text(_LEFT, y + 12, title))
            y += 18
            for name, value in row.items():
                length = max(1.0, wide * value / (longest or 1))
                parts.append(
                    f'<rect x="{_LEFT}" y="{y:.1f}" width="{length:.1f}" '
                    f'height="{_BAR - 3}" fill="{colours[name]}"/>'
                )
                label = f"{name} {_number(value)}"
                parts.append(_text(_LEFT + length + 5, y + 9, label, size=10))
                y += _BAR
            y += 6
        return "".join(parts)


def draw(title: str, panels: Sequence[Lines | Bars], *, note: str = "") -> str:
    """Return a picture of charts.

    Args:
        title: Above all of them.
        panels: Charts of lines stand beside each other, those of bars alone.
        note: Below the title: where it was measured.
    """
    names = dict.fromkeys(name for panel in panels for name in _names(panel))
    colours = {
        name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(sorted(names))
    }
    parts, y, column = [], float(_TITLE + 20), 0
    for panel in panels:
        if isinstance(panel, Bars):
            y, column = y + (_HEIGHT if column else 0), 0
        inside = panel.render(colours)
        parts.append(f'<g transform="translate({column * _WIDTH} {y})">{inside}</g>')
        if isinstance(panel, Bars):
            y += panel.height
            continue
        column = (column + 1) % _COLUMNS
        y += 0 if column else _HEIGHT
    height = y + (_HEIGHT if column else 0)
    width = _COLUMNS * _WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" font-family="sans-serif" role="img">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{width}" height="{height:.0f}" fill="#ffffff"/>'
        f"{_text(16, 24, title, size=16, bold=True)}{_text(16, 42, note, size=10)}"
        f"{''.join(parts)}</svg>\n"
    )


def _names(panel: Lines | Bars) -> list[str]:
    if isinstance(panel, Lines):
        return list(panel.series)
    return [name for row in panel.rows.values() for name in row]


def _nice(value: float) -> float:
    """Return a round number that is not less."""
    if value <= 0:
        return 1.0
    power = float(10 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 11,
    anchor: str = "start",
    bold: bool = False,
    colour: str = "#222222",
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}"{weight}>{escape(text)}</text>'
    )


def _line(start: Point, end: Point, colour: str) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" '
        f'y2="{end[1]:.1f}" stroke="{colour}"/>'
    )


def _path(points: Sequence[Point], colour: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points
    )
    return (
        f'<polyline points="{joined}" fill="none" stroke="{colour}" '
        f'stroke-width="2"/>{dots}'
    )


def _labels(ends: Mapping[str, Point], colours: Mapping[str, str]) -> list[str]:
    """Return the names beside the ends of their lines, none over another."""
    parts, free = [], -math.inf
    for name, (x, y) in sorted(ends.items(), key=lambda end: end[1][1]):
        free = max(y + 4, free + _LABEL_GAP)
        parts.append(_text(x + 7, free, name, colour=colours[name], bold=True))
    return parts
