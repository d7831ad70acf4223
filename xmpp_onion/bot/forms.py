"""``!form add``: the parameters of a command, asked for one after the other.

A form as XEP-0050 has it travels between client and server in the clear. This one is
a talk, so it is encrypted as everything else is (docs/adr/0032-forms-are-talks.md).
"""

from dataclasses import replace
from typing import Final

from xmpp_onion.bot.arguments import Argument, parse
from xmpp_onion.bot.context import Context
from xmpp_onion.bot.router import Command

__all__ = ["fill_form"]

# What is answered for a parameter that need not be given, and to give it all up.
_DEFAULT: Final = "-"
_END: Final = "."


class _GivenUpError(Exception):
    """Somebody does not want to go on."""


async def fill_form(command: Command, ctx: Context) -> dict[str, object] | None:
    """Ask for each parameter, and return what was answered, by their names.

    Returns:
        None if it was given up.

    Raises:
        TimeoutError: Nothing was answered in time.
        UsageError: The answers were not what they had to be, three times.
    """
    given: dict[str, object] = {}
    for argument in command.plan.arguments:

        def read(text: str, argument: Argument = argument) -> object:
            return _read(argument, text.strip())

        try:
            given[argument.key] = await ctx.ask(_question(argument, ctx), read)
        except _GivenUpError:
            return None
    return given


def _question(argument: Argument, ctx: Context) -> str:
    texts = ctx.bot.texts
    choices = f" ({', '.join(argument.choices)})" if argument.choices else ""
    parts = [f"{argument.name}{choices}?"]
    if not argument.is_required:
        parts.append(texts.form_default.format(word=_DEFAULT))
    parts.append(texts.form_end.format(word=_END))
    return " ".join(parts)


def _read(argument: Argument, word: str) -> object:
    if word == _END:
        raise _GivenUpError
    if word == _DEFAULT and not argument.is_required:
        return argument.default
    whole = replace(argument, is_rest=not argument.is_list)
    return parse([whole], word)[argument.key]
