"""``xmpp-onion contact``: people. Nothing is ever accepted by itself."""

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.chat import Line
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings

__all__ = ["command"]


@click.group("contact")
def command() -> None:
    """People: ask, accept, list."""


@command.command("list")
@click.pass_obj
def _list(settings: Settings) -> int:
    """List your contacts."""
    return run(settings, {"do": "contacts"}, _told)


@command.command("add")
@click.argument("jid")
@click.pass_obj
def _add(settings: Settings, jid: str) -> int:
    """Ask JID to be a contact, and let JID see you."""
    return run(settings, {"do": "add-contact", "jid": parse_recipient(jid)}, _told)


@command.command("accept")
@click.argument("jid")
@click.pass_obj
def _accept(settings: Settings, jid: str) -> int:
    """Accept the request of JID, and ask back."""
    return run(settings, {"do": "accept-contact", "jid": parse_recipient(jid)}, _told)


def _told(line: Line) -> str:
    return visible(f"{line['jid']}: {line['state']}")
