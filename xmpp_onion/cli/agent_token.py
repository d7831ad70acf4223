"""``xmpp-onion agent token``: let other users of this machine have a text sent."""

import asyncio
from typing import TYPE_CHECKING

import click

from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import ask_holder, load_account
from xmpp_onion.cli.settings import Settings

if TYPE_CHECKING:
    from xmpp_onion.chat import Line

__all__ = ["command"]


@click.group("token")
def command() -> None:
    """Let other users have texts sent, to people you name.

    They are users of this machine, and reach the agent through the socket of `agent
    start --share`.
    """


@command.command("add")
@click.argument("name")
@click.option(
    "--may", type=click.Choice(["send"]), default="send", show_default=True,
    help="What it is good for.",
)  # fmt: skip
@click.option("--to", multiple=True, required=True, metavar="JID",
              help="To whom, a room perhaps; may be given often.")  # fmt: skip
@click.pass_obj
def _add(settings: Settings, name: str, *, may: str, to: tuple[str, ...]) -> int:
    """Make a token called NAME, and print it; it cannot be shown again.

    Put it into a file that only the other user can read. It opens nothing else: no
    message can be read with it, and nobody else written to.
    """
    return _do(settings, {"do": "add-token", "name": name, "may": may, "to": list(to)})


@command.command("list")
@click.pass_obj
def _list(settings: Settings) -> int:
    """List the tokens, without the tokens themselves."""
    return _do(settings, {"do": "tokens"}, nothing="There is none.")


@command.command("remove")
@click.argument("name")
@click.pass_obj
def _remove(settings: Settings, name: str) -> int:
    """Take a token back; whoever has it can have nothing sent any more."""
    return _do(settings, {"do": "remove-token", "name": name})


def _do(settings: Settings, request: "Line", *, nothing: str = "") -> int:
    """Have it done by who holds the account, else in its store."""
    lines = asyncio.run(ask_holder(settings, request))
    if lines is None:
        account = load_account(settings)
        from xmpp_onion.agent import tokens  # noqa: PLC0415 - it takes a second to load

        lines = asyncio.run(tokens.turn_alone(account, request))
    for line in lines:
        if line["event"] == "error":
            settings.output.error(line)
            return int(str(line["code"]))
        settings.output.result(line, _told(line))
    if not lines and nothing:
        settings.output.note(nothing)
    return 0


def _told(line: "Line") -> str:
    to = ", ".join(map(str, line["to"])) if isinstance(line["to"], list) else ""
    if line["event"] == "token-removed":
        return visible(f"{line['name']} is good for nothing any more.")
    if "token" in line:
        return str(line["token"])
    return visible(f"{line['name']}: may {line['may']} to {to}, since {line['since']}")
