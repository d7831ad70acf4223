"""``xmpp-onion sent`` and ``room shown``: what became of what we said."""

import asyncio
from typing import TYPE_CHECKING

import click

from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.send import told
from xmpp_onion.cli.settings import Settings
from xmpp_onion.rooms import check_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from xmpp_onion.account import Account
    from xmpp_onion.chat import Line

__all__ = ["command", "shown_command"]

_id = click.argument("message_id", metavar="ID")


@click.command("sent")
@_id
@click.pass_obj
def command(settings: Settings, message_id: str) -> int:
    """Tell how far your message ID has come.

    `send --json` shows the id. Needs no connection; what a receipt would say is
    known once it was heard.
    """
    return _ask(settings, {"do": "sent", "id": message_id}, _told_state)


@click.command("shown")
@click.argument("room", callback=lambda *told: check_room(told[-1]))
@_id
@click.pass_obj
def shown_command(settings: Settings, room: str, message_id: str) -> int:
    """List who in ROOM was shown your message ID.

    Nobody has to say so, and in a room of more than 50 nobody does. Needs no
    connection.
    """
    request: Line = {"do": "shown-in-room", "room": room, "id": message_id}
    return _ask(settings, request, _told_reader, nothing="Nobody has said so yet.")


def _ask(
    settings: Settings,
    request: "Line",
    tell: "Callable[[Line], str]",
    *,
    nothing: str = "",
) -> int:
    def alone(account: "Account") -> "list[Line]":
        from xmpp_onion.agent import outcomes  # noqa: PLC0415 - slow to load

        return asyncio.run(outcomes.tell_alone(account, request))

    return run(settings, request, tell, offline=alone, nothing=nothing)


def _told_state(line: "Line") -> str:
    why = f": {visible(str(line['reason']))}" if line.get("reason") else ""
    return f"{told(line)}{why}"


def _told_reader(line: "Line") -> str:
    return visible(f"{line['jid']} was shown it")
