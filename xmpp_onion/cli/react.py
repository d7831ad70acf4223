"""``xmpp-onion react``: what we feel about a message."""

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.send import told
from xmpp_onion.cli.settings import Settings

__all__ = ["command"]


@click.command("react")
@click.argument("to")
@click.argument("message_id", metavar="ID")
@click.argument("emojis", metavar="EMOJI", nargs=-1)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="Seconds for a login, then for the ack.",
)  # fmt: skip
@click.pass_obj
def command(
    settings: Settings,
    to: str,
    message_id: str,
    emojis: tuple[str, ...],
    *,
    timeout: float | None,
) -> int:
    """React to the message ID with each EMOJI; without one, take that back.

    Only inside of the envelope: if no device of TO can be told so, nothing is sent.
    """
    if not message_id:
        raise click.UsageError("name the message: listen --json shows its id")
    return run(
        settings,
        {
            "do": "react",
            "to": parse_recipient(to),
            "id": message_id,
            "emojis": list(emojis),
            "timeout": timeout,
        },
        told,
    )
