"""``xmpp-onion devices``: whose devices there are, with their fingerprints."""

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.chat import Line
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings

__all__ = ["command", "told"]


@click.group("devices")
def command() -> None:
    """Devices and fingerprints, yours and others'."""


@command.command("list")
@click.argument("jid", required=False)
@click.pass_obj
def _list(settings: Settings, *, jid: str | None) -> int:
    """List the devices of JID, or your own."""
    owner = parse_recipient(jid) if jid else ""
    return run(settings, {"do": "devices", "jid": owner}, told)


def told(line: Line) -> str:
    """Return a device for a person: the fingerprint in groups, as others show it."""
    digits = str(line["fingerprint"])
    groups = " ".join(digits[at : at + 8] for at in range(0, len(digits), 8))
    label = f" {visible(str(line['label']))}" if line["label"] else ""
    state = "" if line["active"] else ", not in use"
    return f"{line['jid']} {line['device']} ({line['trust']}{state}){label}\n  {groups}"
