"""What a person sees of a server that runs: a picture on a terminal, else lines."""

import logging
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from xmpp_onion.address import OnionAddress
from xmpp_onion.cli.output import Output, visible
from xmpp_onion.server import Health, State

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

__all__ = ["View", "open_view", "say_state", "say_up"]

# The picture has to fit a terminal of 24 lines.
_WARNINGS_SHOWN = 5
_LABEL_COLUMNS = len("warnings")
_WORDS = {
    State.DOWN: "It does not run.",
    State.STARTING: "It starts.",
    State.UP: "Reachable through Tor.",
    State.UNREACHABLE: "Tor is away; published again when it is back.",
    State.MENDING: "Prosody ended, and is started again.",
}
# By whether Tor tells the circuits of guests.
_LIMITS = {
    None: "",
    True: "for each guest's circuit",
    False: "none for circuits: this Tor does not tell them",
}
_STYLES = {State.UP: "green", State.DOWN: "dim", State.STARTING: "cyan"}


def say_up(onion: str, folder: Path) -> str:
    """Return what to do with a server that is up, in words."""
    return f"{onion} is up.\nInvite somebody: xmpp-onion server invite {folder}"


def say_state(state: State) -> str:
    """Return what a state means, in words."""
    return _WORDS[state]


class View:
    """Tells how a server is: as JSON lines, as plain lines, or as a picture.

    Args:
        output: Where results and messages go.
        onion: Its name.
        live: Draws the picture; None where there is no terminal.
    """

    def __init__(
        self, output: Output, onion: OnionAddress, live: "Live | None"
    ) -> None:
        self._output = output
        self._onion = onion
        self._live = live
        self._health = Health(State.STARTING)
        self._line: dict[str, object] = {}
        self._warnings: deque[str] = deque(maxlen=_WARNINGS_SHOWN)
        self._count = 0

    def show(self, health: Health, warnings: Sequence[str]) -> None:
        """Tell how the server is, and what Prosody logged since the last time."""
        self._warnings.extend(warnings)
        self._count += len(warnings)
        if self._output.as_json:
            self._show_lines(health)
        elif self._live is None:
            self._show_words(health, warnings)
        self._health = health
        if self._live is not None:
            self._live.update(self.picture(), refresh=True)

    def _show_lines(self, health: Health) -> None:
        line = {
            "v": 1,
            **health.as_line(),
            "onion": self._onion,
            "warnings": self._count,
        }
        if line != self._line:
            self._line = line
            self._output.result(line, "")

    def _show_words(self, health: Health, warnings: Sequence[str]) -> None:
        before = self._health.state
        if health.state is not before and before is not State.STARTING:
            self._output.note(say_state(health.state))
        for warning in warnings:
            self._output.note(f"Prosody: {visible(warning)}")

    def picture(self) -> "RenderableType":
        """Return the picture, for as many columns as there are."""
        from rich.console import Group  # noqa: PLC0415 - rich is slow to load
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        state, load = self._health.state, self._health.load
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True, min_width=_LABEL_COLUMNS)
        rows.add_column(overflow="fold")
        # The whole name, over two lines if need be: it is what people are told.
        rows.add_row("onion", Text(str(self._onion), "bold"))
        values = {
            "state": Text(say_state(state), _STYLES.get(state, "yellow")),
            "Prosody": Text(f"{load.version} {_age(load.since)}".strip()),
            "people": Text(f"{load.sessions} logged in"),
            "servers": Text(f"{load.servers} linked, {load.queue} stanzas wait"),
            "limits": Text(_LIMITS[self._health.tells_circuits]),
            "warnings": Text(f"{self._count} since the start"),
        }
        for label, value in values.items():
            value.no_wrap, value.overflow = True, "ellipsis"
            rows.add_row(label, value)
        said = [
            Text(visible(warning), "yellow", no_wrap=True, overflow="ellipsis")
            for warning in self._warnings
        ]
        return Group(rows, *said)


def _age(since: datetime | None) -> str:
    """Return how long something has run, in the two largest units."""
    if since is None:
        return "not running"
    seconds = max(0, int((datetime.now(UTC) - since) / timedelta(seconds=1)))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"for {days} d {hours % 24} h"
    if hours:
        return f"for {hours} h {minutes % 60} min"
    return f"for {minutes} min" if minutes else f"for {seconds} s"


@contextmanager
def open_view(
    output: Output, onion: OnionAddress, *, fingerprint: str, folder: Path
) -> Iterator[View]:
    """Say that a server is up, and yield what goes on telling how it is.

    Args:
        output: Where results and messages go.
        onion: Its name.
        fingerprint: Its certificate's.
        folder: Where it is, for the command that invites.
    """
    output.result(
        {
            "v": 1,
            "event": "server",
            "onion": onion,
            "c2s": 5222,
            "fingerprint": fingerprint,
        },
        say_up(onion, folder),
    )
    if output.as_json or output.quiet or not sys.stderr.isatty():
        yield View(output, onion, None)
        return
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load
    from rich.live import Live  # noqa: PLC0415

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield View(output, onion, None)
        return
    with Live(console=console, auto_refresh=False) as live, _logging_above():
        yield View(output, onion, live)


@contextmanager
def _logging_above() -> Iterator[None]:
    """Let what is logged appear above the picture, as what is printed does."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream or sys.__stderr__)
