"""The rows of a terminal that stand above the line that is typed.

Rows are printed and scroll away as ever. The begin of one of ours is drawn anew while
it is certain to be on the screen still, and nobody else has moved it: not after the
window got another size, another program wrote, or the screen was cleared.
"""

from collections.abc import Callable
from dataclasses import dataclass

from prompt_toolkit.application import Application, get_app_or_none, run_in_terminal
from prompt_toolkit.output import Output

from xmpp_onion.cli.folding import LEAST, fold

__all__ = ["ScreenPaper"]


@dataclass(frozen=True, slots=True)
class _Line:
    """To be printed; with a number if it may be marked later, else 0."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """The new begin of a line, and what to do if it cannot be reached any more."""

    number: int
    head: str
    otherwise: Callable[[], None]


class ScreenPaper:
    """Prints above what is typed, and marks what it printed.

    Args:
        output: The terminal.
        can_mark: It can move its cursor.
    """

    def __init__(self, output: Output, *, can_mark: bool) -> None:
        self._output = output
        self._can_mark = can_mark
        self._due: list[_Line | _Mark] = []
        self._is_printing = False
        self._rows: dict[int, int] = {}
        self._printed = 0
        self._above = 0
        self._size = output.get_size()

    def show(self, text: str) -> None:
        """Print one line, or several."""
        self._add(_Line(text, 0))

    def show_mine(self, number: int, text: str) -> None:
        """Print a line that may be marked later."""
        self._add(_Line(text, number))

    def mark(self, number: int, head: str, otherwise: Callable[[], None]) -> None:
        """Draw the begin of a line anew; else call ``otherwise``."""
        self._add(_Mark(number, head, otherwise))

    def lose(self) -> None:
        """Touch no row that was printed until now: it may stand elsewhere."""
        self._above = 0

    def rendered(self, app: "Application[str]") -> None:
        """Note how high the lines below are, and whether the window has changed."""
        self._look()
        screen = app.renderer.last_rendered_screen
        if screen is not None:
            self._above = min(self._above, self._size.rows - screen.height)

    def _look(self) -> None:
        size = self._output.get_size()
        if size != self._size:
            self._size = size
            self.lose()

    def _add(self, one: _Line | _Mark) -> None:
        self._due.append(one)
        app = get_app_or_none()
        if app is None or not app.is_running:
            self._print()
        elif not self._is_printing:
            self._is_printing = True
            run_in_terminal(self._print)

    def _print(self) -> None:
        self._is_printing = False
        self._look()
        due, self._due = self._due, []
        for one in due:
            if isinstance(one, _Line):
                self._write(one)
            else:
                self._draw(one)
        self._output.flush()

    def _write(self, line: _Line) -> None:
        if line.number:
            self._rows[line.number] = self._printed
        text = fold(line.text, self._size.columns)
        self._output.write(text + "\n")
        rows = text.count("\n") + 1
        self._printed += rows
        self._above = min(self._above + rows, self._size.rows - 1)
        for number in [n for n, row in self._rows.items() if not self._is_there(row)]:
            del self._rows[number]

    def _draw(self, mark: _Mark) -> None:
        row = self._rows.get(mark.number)
        if row is None or not self._is_there(row):
            mark.otherwise()
            return
        distance = self._printed - row
        self._output.cursor_up(distance)
        self._output.write("\r" + mark.head + "\r")
        self._output.cursor_down(distance)

    def _is_there(self, row: int) -> bool:
        """Tell whether a row of ours is on the screen, wherever it began there.

        What is typed goes down with each row, and up where it would not fit: at least
        so many rows are above it.
        """
        return (
            self._can_mark
            and self._size.columns >= LEAST
            and self._printed - row <= self._above
        )
