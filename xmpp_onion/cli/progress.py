"""What a person sees while something takes its time: on stderr, live on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from xmpp_onion.chat import Line, Message, line
from xmpp_onion.cli.output import Output, visible

__all__ = ["Step", "Steps", "show_progress"]


class Step:
    """One thing that takes a while: how far it is, and how long it took.

    Args:
        title: What it is.
        output: Where its line goes with --json.
    """

    def __init__(self, title: str, output: Output) -> None:
        self.title = title
        self.phrase = ""
        self.fraction: float | None = None
        self.is_done = self.has_failed = False
        self._output = output
        self._began = time.monotonic()
        self._took: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken so far, or took."""
        return round(self._took or time.monotonic() - self._began, 1)

    def update(self, phrase: str, fraction: float | None) -> None:
        """Tell how far it is: a few words, and 0 to 1, or None if that is not known."""
        self.phrase, self.fraction = phrase, fraction

    def done(self, result: Line, phrase: str = "") -> None:
        """Tell that it is finished, with the line that says so in --json."""
        self._took = time.monotonic() - self._began
        self.is_done, self.phrase, self.fraction = True, phrase, None
        if self._output.as_json:
            self._output.result({"v": 1, **result}, "")


class Steps:
    """A list of steps and of what was said, drawn live where there is a terminal.

    Args:
        output: With --quiet and --json nothing is drawn.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._began = time.monotonic()
        self._steps: list[Step] = []
        self._said: list[Text] = []
        console = Console(stderr=True, quiet=output.quiet or output.as_json)
        self._live: Live | None = None
        is_live = console.is_terminal and not console.is_dumb_terminal
        if is_live and not console.quiet:
            self._live = Live(
                get_renderable=self._picture, console=console, refresh_per_second=10
            )
        self._console = console

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs."""
        step = Step(title, self._output)
        self._steps.append(step)
        try:
            yield step
        except BaseException:
            step.has_failed = True
            raise
        if self._live is None:
            self._console.print(self._row(step), highlight=False, soft_wrap=True)

    def say(self, message: Message) -> None:
        """Show a message that arrived."""
        if self._output.as_json:
            self._output.result({**line(message), "via": "onion"}, "")
        text = Text.assemble(
            (
                f"{message.sender.local} → {(message.room or message.to).local}: ",
                "bold",
            ),
            _what(message),
            (f"  ({message.trust})", "dim"),
        )
        self._said.append(text)
        if self._live is None:
            self._console.print(text, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """Tell that all is done, and how long it took; stop drawing."""
        seconds = round(time.monotonic() - self._began, 1)
        if self._output.as_json:
            self._output.result(
                {"v": 1, "event": "done", "ok": True, "seconds": seconds}, ""
            )
        closing = Text(
            f"Done in {seconds} s. All of it went through Tor, encrypted end to end; "
            "nothing left this machine.",
            "green",
        )
        self._said.append(closing)
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None
        else:
            self._console.print(closing, highlight=False, soft_wrap=True)

    def _picture(self) -> Group:
        table = Table.grid(padding=(0, 1))
        for step in self._steps:
            table.add_row(*self._cells(step))
        return Group(table, *self._said)

    def _cells(
        self, step: Step
    ) -> tuple[Text | Spinner, Text, Text | ProgressBar, Text]:
        mark = _mark(step)
        seconds = Text(f"{step.seconds:5.1f} s", "dim")
        if step.fraction is None:
            return mark, Text(step.title), seconds, Text(step.phrase, "cyan")
        bar = ProgressBar(total=1, completed=step.fraction, width=12)
        return mark, Text(step.title), bar, Text(step.phrase, "dim")

    def _row(self, step: Step) -> Text:
        return Text(f"{step.title}: {step.seconds} s {step.phrase}".rstrip())


def _what(message: Message) -> str:
    file = message.attachment
    return visible(message.text if file is None else f"[file: {file.name}]")


def _mark(step: Step) -> Text | Spinner:
    if step.has_failed:
        return Text("✗", "red")
    return Text("✓", "green") if step.is_done else Spinner("dots")


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show one step on the terminal while the block runs, and nothing afterwards.

    Yields:
        What tells how far it is: a few words, and 0 to 1.
    """
    step = Step(title, Output(quiet=True))
    console = Console(stderr=True)

    def picture() -> Table:
        bar = ProgressBar(total=1, completed=step.fraction or 0, width=12)
        row = Table.grid(padding=(0, 1))
        row.add_row(_mark(step), Text(title), bar, Text(visible(step.phrase), "dim"))
        return row

    with Live(get_renderable=picture, console=console, transient=True):
        yield step.update
