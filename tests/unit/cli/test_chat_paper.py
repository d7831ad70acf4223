"""The rows above what is typed, on a terminal of which each row is known."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.data_structures import Size
from prompt_toolkit.output import DummyOutput

from xmpp_onion.cli.chat_paper import ScreenPaper

BELOW = "(what is typed)"


class Terminal(DummyOutput):
    """Rows, of which the last ones are on the screen; the cursor is on one."""

    def __init__(self, rows: int, columns: int, before: int) -> None:
        self.size = Size(rows=rows, columns=columns)
        self.rows = ["$"] * before + [""]
        self.y = len(self.rows) - 1

    def get_size(self) -> Size:
        return self.size

    @property
    def top(self) -> int:
        return max(0, len(self.rows) - self.size.rows)

    def write(self, data: str) -> None:
        for letter in data:
            if letter == "\n":
                self.y += 1
                if self.y == len(self.rows):
                    self.rows.append("")
                self.x = 0
            elif letter == "\r":
                self.x = 0
            else:
                row = self.rows[self.y]
                self.rows[self.y] = row[: self.x] + letter + row[self.x + 1 :]
                self.x += 1
            assert self.x <= self.size.columns

    x = 0

    def cursor_up(self, amount: int) -> None:
        self.y = max(self.top, self.y - amount)

    def cursor_down(self, amount: int) -> None:
        self.y = min(len(self.rows) - 1, self.y + amount)

    def draw_below(self, height: int) -> SimpleNamespace:
        """Draw what is below and erase it, as a prompt that is rendered."""
        begun = self.y
        for _ in range(height - 1):
            self.write("\n")
        self.y, self.x = begun, 0
        screen = SimpleNamespace(height=height)
        return SimpleNamespace(renderer=SimpleNamespace(last_rendered_screen=screen))


def _late(missed: list[int], number: int) -> None:
    missed.append(number)


@given(
    rows=st.integers(5, 12),
    columns=st.integers(20, 60),
    before=st.integers(0, 20),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("theirs"), st.integers(0, 150)),
            st.tuples(st.just("mine"), st.integers(0, 150)),
            st.tuples(st.just("mark"), st.integers(0, 30)),
            st.tuples(st.just("below"), st.integers(1, 4)),
        ),
        max_size=60,
    ),
)
def test_a_mark_changes_its_own_line_or_is_told_otherwise(
    rows: int, columns: int, before: int, steps: list[tuple[str, int]]
) -> None:
    terminal = Terminal(rows, columns, before)
    paper = ScreenPaper(terminal, can_mark=True)
    heads: dict[int, str] = {}
    missed: list[int] = []
    for what, size in steps:
        if what == "theirs":
            paper.show("- " + "x" * size)
        elif what == "mine":
            number = len(heads) + 1
            heads[number] = f"#{number:02} {'.':<3} "
            paper.show_mine(number, heads[number] + "y" * size)
        elif what == "below":
            paper.rendered(terminal.draw_below(size))
        elif heads:
            number = 1 + size % len(heads)
            changed = f"#{number:02} {'+' if heads[number][4] == '.' else '*':<3} "
            missed.clear()
            paper.mark(number, changed, lambda n=number: _late(missed, n))
            if not missed:
                heads[number] = changed
    shown = [row[:8].strip() for row in terminal.rows if row.startswith("#")]
    assert shown == [heads[number].strip() for number in sorted(heads)]


def test_a_line_on_the_screen_is_marked_and_one_that_went_is_not() -> None:
    terminal = Terminal(10, 40, before=0)
    paper = ScreenPaper(terminal, can_mark=True)
    missed: list[int] = []
    paper.show_mine(1, "#1 .   you: hello")
    paper.rendered(terminal.draw_below(2))
    paper.mark(1, "#1 +   you", lambda: _late(missed, 1))
    assert terminal.rows[0] == "#1 +   you: hello"
    for number in range(8):
        paper.show(f"line {number}")
    paper.rendered(terminal.draw_below(2))
    paper.mark(1, "#1 ++  you", lambda: _late(missed, 1))
    assert missed == [1]
    assert terminal.rows[0] == "#1 +   you: hello"


def test_after_the_window_has_another_size_nothing_is_marked() -> None:
    terminal = Terminal(10, 40, before=0)
    paper = ScreenPaper(terminal, can_mark=True)
    missed: list[int] = []
    paper.show_mine(1, "#1 .   you: hello")
    terminal.size = Size(rows=10, columns=30)
    paper.rendered(terminal.draw_below(2))
    terminal.size = Size(rows=10, columns=40)
    paper.mark(1, "#1 +   you", lambda: _late(missed, 1))
    assert missed == [1]
    paper.show_mine(2, "#2 .   you: again")
    paper.mark(2, "#2 +   you", lambda: _late(missed, 2))
    assert missed == [1]
    assert "#2 +   you: again" in terminal.rows


def test_a_terminal_without_a_cursor_or_too_narrow_is_only_written_to() -> None:
    for columns, can_mark in ((80, False), (19, True)):
        paper = ScreenPaper(Terminal(10, columns, before=0), can_mark=can_mark)
        missed: list[int] = []
        paper.show_mine(1, "#1 . you: hello")
        paper.mark(1, "#1 + you", lambda seen=missed: _late(seen, 1))
        assert missed == [1]


def test_a_long_talk_keeps_no_rows_that_are_gone() -> None:
    paper = ScreenPaper(Terminal(24, 80, before=0), can_mark=True)
    for number in range(1, 3_000):
        paper.show_mine(number, "#9 . you: hello")
    assert len(paper._rows) <= 24
