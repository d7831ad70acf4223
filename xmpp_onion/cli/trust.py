"""``xmpp-onion trust``: whose devices are believed."""

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.cli.devices import told
from xmpp_onion.cli.reach import load_account, run
from xmpp_onion.cli.settings import Settings
from xmpp_onion.e2ee.trust import parse_fingerprint

__all__ = ["command"]


@click.group("trust")
def command() -> None:
    """Whose devices you believe."""


@command.command("list")
@click.argument("jid", required=False)
@click.pass_obj
def _list(settings: Settings, *, jid: str | None) -> int:
    """List the devices of JID, or your own."""
    owner = parse_recipient(jid) if jid else ""
    return run(settings, {"do": "devices", "jid": owner}, told)


@command.command("verify")
@click.argument("jid")
@click.argument("fingerprint", nargs=-1, required=True)
@click.pass_obj
def _verify(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> int:
    """Believe a device of JID.

    Compare its FINGERPRINT with the owner first, over another channel. It has 64
    hex digits; groups of them are fine.
    """
    return _decide(settings, "verify", jid, fingerprint)


@command.command("revoke")
@click.argument("jid")
@click.argument("fingerprint", nargs=-1, required=True)
@click.pass_obj
def _revoke(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> int:
    """Never believe a device of JID again.

    Nothing is encrypted for it, and what it sends is marked as distrusted.
    """
    return _decide(settings, "distrust", jid, fingerprint)


@command.command("pin")
@click.argument("jid")
@click.argument("fingerprint", nargs=-1, required=True)
@click.pass_obj
def _pin(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> None:
    """Pin a FINGERPRINT of JID in the account.

    The policy `pinned` believes nobody else. Works without a connection; a bot that
    runs takes it up when it starts again.
    """
    owner, digits = parse_recipient(jid), parse_fingerprint("".join(fingerprint))
    load_account(settings).pin(owner, digits).save()
    settings.output.result(
        {"v": 1, "event": "pinned", "jid": owner, "fingerprint": digits},
        f"Pinned {owner}: {digits}",
    )


def _decide(
    settings: Settings, what: str, jid: str, fingerprint: tuple[str, ...]
) -> int:
    owner, digits = parse_recipient(jid), parse_fingerprint("".join(fingerprint))
    return run(settings, {"do": what, "jid": owner, "fingerprint": digits}, told)
