"""The built-in command ``help``: what the caller may do, and how."""

from collections.abc import Iterable

from xmpp_onion.bot.context import Context
from xmpp_onion.bot.router import Command
from xmpp_onion.bot.texts import Texts

__all__ = ["describe", "list_commands"]


def list_commands(commands: Iterable[Command], ctx: Context, prefix: str) -> str:
    """Return one line for each command that the caller may use here."""
    texts = ctx.bot.texts
    lines = [
        f"{prefix}{each.usage}{_brief(each)}"
        for each in commands
        if each.when is None or each.when(ctx)
    ]
    return "\n".join([texts.help_title, *lines]) if lines else texts.help_none


def describe(command: Command, prefix: str) -> str:
    """Return all that a command says about itself."""
    names = ", ".join(prefix + each for each in command.aliases)
    text = "\n".join(line.strip() for line in command.text.splitlines())
    parts = [f"{prefix}{command.usage}", text, f"({names})" if names else ""]
    return "\n".join(part for part in parts if part)


def usage_of(command: Command, prefix: str, why: str, texts: Texts) -> str:
    """Return what is wrong with the words, and how the command is used."""
    return texts.usage.format(why=why, usage=prefix + command.usage)


def _brief(command: Command) -> str:
    first = command.text.partition("\n")[0].strip()
    return f": {first}" if first else ""
