"""Draw what terminals show as one SVG: real text, no script, nothing from elsewhere.

Its window is dark wherever it stands, so it reads the same on light and dark pages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_WIDTH, _HEIGHT, _SIZE = 8.4, 18, 14
_MARGIN, _BAR = 14, 28
_THEME: Final = TerminalTheme(
    (24, 26, 31), (214, 218, 224),
    [(24, 26, 31), (240, 113, 120), (143, 204, 121), (229, 192, 102),
     (102, 178, 240), (205, 147, 228), (94, 201, 203), (214, 218, 224)],
    [(139, 146, 158), (255, 140, 146), (170, 226, 150), (245, 214, 135),
     (140, 200, 255), (224, 175, 245), (130, 222, 224), (255, 255, 255)],
)  # fmt: skip
_GROUND, _INK, _PALE = "#181a1f", "#d6dae0", "#8b929e"
# Drawn, for no font draws them without gaps: as their top and height, in halves.
_BLOCKS: Final = {"▀": (0, 1), "▄": (1, 1), "█": (0, 2)}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a terminal shows.

    Attributes:
        name: Stands above it.
        columns: Its width.
        lines: With the escapes that colour them.
    """

    name: str
    columns: int
    lines: tuple[str, ...]


def draw(title: str, terminals: list[Shown]) -> str:
    """Return terminals as one picture, below each other."""
    width = round(max(each.columns for each in terminals) * _WIDTH + 2 * _MARGIN)
    parts: list[str] = []
    top = 0
    for each in terminals:
        height = _BAR + len(each.lines) * _HEIGHT + _MARGIN
        parts += _window(each, top, width, height)
        top += height + _MARGIN
    height = top - _MARGIN
    begin = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">'
    )
    style = (
        f"<style>text{{font:{_SIZE}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',"
        f"monospace;fill:{_INK};white-space:pre}}</style>"
    )
    said = f"<title>{escape(title)}</title>"
    return "\n".join([begin, said, style, *parts, "</svg>\n"])


def _window(terminal: Shown, top: int, width: int, height: int) -> Iterator[str]:
    yield (
        f'<rect x=".5" y="{top + 0.5}" width="{width - 1}" height="{height - 1}" '
        f'rx="8" fill="{_GROUND}" stroke="{_PALE}"/>'
    )
    yield (
        f'<text x="{_MARGIN}" y="{top + 18}" style="fill:{_PALE}">'
        f"{escape(terminal.name)}</text>"
    )
    console = Console(width=terminal.columns, color_system="truecolor")
    for number, line in enumerate(terminal.lines):
        y = top + _BAR + number * _HEIGHT
        column = 0
        for segment in Text.from_ansi(line).render(console):
            text = segment.text.rstrip("\n")
            if text:
                yield from _run(Segment(text, segment.style), column, y)
                column += cell_len(text)


def _run(segment: Segment, column: int, y: int) -> Iterator[str]:
    """Yield what draws text of one style: its ground, its blocks and its letters."""
    style = segment.style or Style()
    ink, ground = _colour(style.color, _INK), _colour(style.bgcolor, _GROUND)
    if style.reverse:
        ink, ground = ground, ink
    elif style.dim:
        ink = _PALE
    text, left = segment.text, _x(column)
    if ground != _GROUND:
        wide = _number(cell_len(text) * _WIDTH)
        yield (
            f'<rect x="{left}" y="{y}" width="{wide}" height="{_HEIGHT}" '
            f'fill="{ground}"/>'
        )
    if path := "".join(_blocks(text, column, y)):
        yield f'<path fill="{ink}" shape-rendering="crispEdges" d="{path}"/>'
    letters = "".join(" " if each in _BLOCKS else each for each in text)
    begun = letters.lstrip(" ")
    if begun.strip(" "):
        column += len(letters) - len(begun)
        begun = begun.rstrip(" ")
        yield _text(begun, column, y, _looks(style, ink))


def _text(text: str, column: int, y: int, looks: str) -> str:
    # Its length is said, so that columns stand below each other in every font.
    wide = _number(cell_len(text) * _WIDTH)
    return (
        f'<text x="{_x(column)}" y="{y + _SIZE}" textLength="{wide}"{looks}>'
        f"{escape(text)}</text>"
    )


def _looks(style: Style, ink: str) -> str:
    rules = [
        f"fill:{ink}" if ink != _INK else "",
        "font-weight:bold" if style.bold else "",
        "font-style:italic" if style.italic else "",
        "text-decoration:underline" if style.underline else "",
    ]
    said = ";".join(rule for rule in rules if rule)
    return f' style="{said}"' if said else ""


def _blocks(text: str, column: int, y: int) -> Iterator[str]:
    """Yield the blocks of a text, those beside each other as one."""
    start = 0
    while start < len(text):
        end = start + 1
        if text[start] in _BLOCKS:
            while end < len(text) and text[end] == text[start]:
                end += 1
            top, height = _BLOCKS[text[start]]
            at = y + top * _HEIGHT // 2
            wide = _number((end - start) * _WIDTH)
            yield f"M{_x(column + start)} {at}h{wide}v{height * _HEIGHT // 2}h-{wide}z"
        start = end


def _x(column: int) -> str:
    return _number(_MARGIN + column * _WIDTH)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _colour(colour: Color | None, otherwise: str) -> str:
    if colour is None or colour.is_default:
        return otherwise
    return colour.get_truecolor(_THEME).hex
