"""The terminal of ``chat``: a line to type on, and above it what comes.

No mouse is caught, and nothing is redrawn but the last lines: scrollback, selection,
ssh and screen readers work as ever. What was typed stays in memory alone.
"""

from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from xmpp_onion.address import JID
from xmpp_onion.cli.chat_words import COMMANDS
from xmpp_onion.cli.folding import fold
from xmpp_onion.cli.output import Output, visible

if TYPE_CHECKING:
    from xmpp_onion.cli.chat_talk import Talk

__all__ = ["Screen"]

# Of an address: its service's name is 56 letters, and a line has 80.
_SHOWN: Final = 20
# Of a terminal that was not asked yet.
_COLUMNS: Final = 80


class Screen(Completer):
    """What the person sees; also completes what is typed.

    Args:
        own: Who types.
        to: Whom the person writes to first.
        output: Prints.

    Attributes:
        talk: What is being talked, once there is a connection.
        network: How far the connection is.
        waiting: Lines that were typed and are not done.
    """

    def __init__(self, own: JID, to: JID | None, output: Output) -> None:
        self._own = own
        self._to = to
        self._output = output
        self.talk: Talk | None = None
        self.network = "connecting"
        self.waiting = 0
        self._session: PromptSession[str] | None = None

    def changed(self) -> None:
        """Draw the last lines anew: something in them became something else."""
        if self._session is not None:
            self._session.app.invalidate()

    def end(self) -> None:
        """End :meth:`lines`, as Ctrl-D does."""
        if self._session is not None and self._session.app.is_running:
            self._session.app.exit(exception=EOFError())

    def show(self, text: str) -> None:
        """Print above the line that is being typed."""
        self._output.result({}, fold(text, self._columns()))

    def _columns(self) -> int:
        if self._session is None:
            return _COLUMNS
        return self._session.app.output.get_size().columns

    async def lines(self) -> AsyncGenerator[str, None]:
        """Yield what is typed, until Ctrl-D."""
        session = self._session = PromptSession[str](
            history=InMemoryHistory(),
            completer=self,
            complete_while_typing=False,
            bottom_toolbar=self._toolbar,
            key_bindings=_keys(),
            erase_when_done=True,
        )
        with patch_stdout():
            while True:
                try:
                    line = await session.prompt_async(self._prompt)
                except EOFError:
                    return
                except KeyboardInterrupt:
                    self.show("(That line was dropped. Ctrl-D ends.)")
                    continue
                yield line

    def _prompt(self) -> str:
        to = self.talk.to if self.talk is not None else self._to
        return f"{_short(to) if to else 'nobody'}> "

    def _toolbar(self) -> str:
        parts = [_short(self._own), self.network]
        if self.talk is not None and self.talk.is_away:
            parts[1] = "no connection, trying"
        if self.talk is not None and self.talk.status:
            parts.append(self.talk.status)
        if self.waiting:
            parts.append(f"sending {self.waiting}")
        return " " + " | ".join([*parts, "encrypted", "/help"])

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
        if blank and command in {"to", "join"} and self.talk is not None:
            found = self.talk.addresses()
        for each in found:
            # What a terminal would not show as it is, nobody can mean to type.
            if each.startswith(begun) and visible(each) == each:
                yield Completion(each, start_position=-len(begun))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _short(jid: JID) -> str:
    shown = visible(jid)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
