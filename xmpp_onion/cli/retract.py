"""``xmpp-onion retract``: take back what we said, as far as others let us."""

from typing import TYPE_CHECKING

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.send import told
from xmpp_onion.cli.settings import Settings

if TYPE_CHECKING:
    from xmpp_onion.chat import Line

__all__ = ["command"]


@click.command("retract")
@click.argument("to")
@click.argument("message_id", metavar="ID")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="Seconds for a login, then for the ack.",
)  # fmt: skip
@click.pass_obj
def command(
    settings: Settings, to: str, message_id: str, *, timeout: float | None
) -> int:
    """Ask TO, a person or a room, to forget your message ID. Nobody has to.

    Only inside of the envelope: if no device of TO can be told so, nothing is sent.
    """
    if not message_id:
        raise click.UsageError("name the message: send --json shows its id")
    request: Line = {
        "do": "retract",
        "to": parse_recipient(to),
        "id": message_id,
        "timeout": timeout,
    }
    return run(settings, request, told)
