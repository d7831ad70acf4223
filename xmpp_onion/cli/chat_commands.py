"""What a typed line of a talk does."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from xmpp_onion.cli.chat_marks import LEGEND
from xmpp_onion.cli.chat_people import PEOPLE
from xmpp_onion.cli.chat_rooms import ROOMS
from xmpp_onion.cli.chat_said import SAID
from xmpp_onion.cli.chat_talk import Talk
from xmpp_onion.cli.chat_words import COMMANDS, Typed, read_typed
from xmpp_onion.errors import XmppOnionError

__all__ = ["do"]

# The commands after which a device may be believed that was not, or the reverse.
_DECIDING: Final = frozenset({"verify", "distrust", "trust", "devices"})
# Those that say a text of some length; without one it is said as well.
_SAYING: Final = frozenset({"", "reply", "edit"})

Command: TypeAlias = Callable[[Talk, Typed], Awaitable[None]]


async def do(talk: Talk, line: str) -> bool:
    """Do what a line says; False if it ends the talk.

    What goes wrong is shown, and ends nothing.
    """
    if not line.strip():
        return True
    unsaid = ""
    try:
        typed = read_typed(line)
        unsaid = line if typed.command in _SAYING else ""
        if typed.command == "quit":
            return False
        if typed.command:
            await _COMMANDS[typed.command](talk, typed)
            if typed.command in _DECIDING:
                talk.belief.look(talk.to)
        else:
            await talk.send(talk.place(), typed.text)
    except XmppOnionError as error:
        talk.fail(error, unsaid)
    except OSError as error:
        talk.fail_of_system(error, unsaid)
    return True


async def _help(talk: Talk, typed: Typed) -> None:
    typed.words(0, 0)
    for name, (what, text) in COMMANDS.items():
        talk.show(f"  {f'/{name} {what}'.strip():<28} {text}")
    talk.show("All else is sent. Alt-Enter begins another line.")
    talk.show(f"Before your own lines: {LEGEND}.")


_COMMANDS: Mapping[str, Command] = {**SAID, **PEOPLE, **ROOMS, "help": _help}
