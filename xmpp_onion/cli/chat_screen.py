"""The terminal of ``chat``: a line to type on, and above it what comes.

No mouse is caught, and nothing is redrawn but the last lines: scrollback, selection,
ssh and screen readers work as ever. What was typed stays in memory alone.
"""

import asyncio
import io
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.utils import is_dumb_terminal

from xmpp_onion.address import JID
from xmpp_onion.cli.chat_paper import ScreenPaper
from xmpp_onion.cli.chat_words import COMMANDS, completed
from xmpp_onion.cli.output import visible

if TYPE_CHECKING:
    from xmpp_onion.cli.chat_talk import Talk

__all__ = ["Screen"]

# Of an address: its service's name is 56 letters, and a line has 80.
_SHOWN: Final = 20
# Columns of a terminal in which that would take the place of what matters.
_NARROW: Final = 60


class Screen(Completer):
    """What the person sees; also completes what is typed.

    Args:
        own: Who types.
        to: Whom the person writes to first.

    Attributes:
        talk: What is being talked, once there is a connection.
        network: How far the connection is.
        waiting: Lines that were typed and are not done.
        is_over: The person has ended it, or somebody for them.
    """

    def __init__(self, own: JID, to: JID | None) -> None:
        self._own = own
        self._to = to
        self.talk: Talk | None = None
        self.network = "connecting"
        self.waiting = 0
        self.is_over = False
        self._has_interrupted = False
        self._session = PromptSession[str](
            history=InMemoryHistory(),
            completer=self,
            complete_while_typing=False,
            bottom_toolbar=self._toolbar,
            key_bindings=_keys(self._suspend, self._clear),
            erase_when_done=True,
        )
        self.paper = ScreenPaper(self._session.output, can_mark=not is_dumb_terminal())
        self._session.app.after_render += self.paper.rendered
        self._session.default_buffer.on_text_changed += self._typed

    def changed(self) -> None:
        """Draw the last lines anew: something in them became something else."""
        self._session.app.invalidate()

    def end(self) -> None:
        """End :meth:`lines`, as Ctrl-D does, whatever is typed half."""
        self.is_over = True
        if self._session.app.is_running:
            self._session.app.exit(exception=EOFError())

    async def lines(self) -> AsyncGenerator[str, None]:
        """Yield what is typed, until Ctrl-D, or Ctrl-C twice."""
        with self._all_through_paper():
            while not self.is_over:
                try:
                    line = await self._session.prompt_async(self._prompt)
                except EOFError:
                    self.is_over = True
                    return
                except KeyboardInterrupt:
                    if self._has_interrupted:
                        self.is_over = True
                        return
                    self._has_interrupted = True
                    self.paper.show(
                        "(That line was dropped. Ctrl-D, or Ctrl-C once more, ends.)"
                    )
                    continue
                self._has_interrupted = False
                yield line

    @contextmanager
    def _all_through_paper(self) -> Iterator[None]:
        """Print above what is typed whatever else is printed: notes, and logs."""
        stray = _Stray(self.paper.show)
        logs = [
            each
            for each in logging.getLogger().handlers
            if isinstance(each, logging.StreamHandler) and each.stream is sys.stderr
        ]
        terminal = sys.stderr
        try:
            for each in logs:
                each.setStream(stray)
            with redirect_stdout(stray), redirect_stderr(stray):
                yield
        finally:
            for each in logs:
                each.setStream(terminal)

    def _typed(self, buffer: Buffer) -> None:
        if buffer.text:
            self._has_interrupted = False
        if self.talk is not None:
            self.talk.courtesy.typed(self.talk.to, buffer.text)

    def _suspend(self, event: KeyPressEvent) -> None:
        self.paper.lose()  # whoever has the terminal then writes there
        event.app.suspend_to_background()

    def _clear(self, event: KeyPressEvent) -> None:
        self.paper.lose()
        event.app.renderer.clear()

    def _prompt(self) -> str:
        to = self.talk.to if self.talk is not None else self._to
        return f"{_short(to) if to else 'nobody'}> "

    def _toolbar(self) -> str:
        is_narrow = self._session.output.get_size().columns < _NARROW
        own = visible(self._own.local) if is_narrow else _short(self._own)
        parts = [own, self.network]
        if self.talk is not None and self.talk.is_away:
            parts[1] = "no connection, trying"
        belief = "" if self.talk is None else self.talk.belief.word
        # Before what may be long: a narrow terminal cuts the end.
        parts.append(f"encrypted, {belief}" if belief else "encrypted")
        if self.talk is not None and self.talk.status:
            parts.append(self.talk.status)
        if self.waiting:
            parts.append(f"sending {self.waiting}")
        return " " + " | ".join([*parts, "/help"])

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - prompt_toolkit's signature
    ) -> Iterable[Completion]:
        """Yield what a word may become: a command, or an address behind /to."""
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        command, blank, word = text[1:].partition(" ")
        begun, found = (word, []) if blank else (command, list(COMMANDS))
        if blank:
            found = completed(command)
            before, _, last = word.rpartition(" ")
            takes_address = command in {"to", "join"} or before in found
            if takes_address and self.talk is not None:
                begun, found = last, self.talk.addresses()
        for each in found:
            # What a terminal would not show as it is, nobody can mean to type.
            if each.startswith(begun) and visible(each) == each:
                yield Completion(each, start_position=-len(begun))


class _Stray(io.TextIOBase):
    """Takes what is printed by others, from any thread, a line at a time."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._loop.call_soon_threadsafe(self._show, line)
        return len(text)


def _keys(
    suspend: Callable[[KeyPressEvent], None], clear: Callable[[KeyPressEvent], None]
) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    keys.add("c-z")(suspend)
    keys.add("c-l")(clear)
    return keys


def _short(jid: JID) -> str:
    shown = visible(jid)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
