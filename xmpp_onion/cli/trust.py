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
    """List what is known about the devices of JID, or about your own."""
    owner = parse_recipient(jid) if jid else ""
    return run(settings, {"do": "devices", "jid": owner}, told)


@command.command("verify")
@click.argument("jid")
@click.argument("fingerprint", nargs=-1, required=True)
@click.pass_obj
def _verify(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> int:
    """Believe a device of JID whose FINGERPRINT you compared with its owner.

    The fingerprint has 64 hex digits; groups of them are fine.
    """
    return _decide(settings, "verify", jid, fingerprint)


@command.command("revoke")
@click.argument("jid")
@click.argument("fingerprint", nargs=-1, required=True)
@click.pass_obj
def _revoke(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> int:
    """Never encrypt for that device again, and believe nothing it says."""
    return _decide(settings, "distrust", jid, fingerprint)


@command.command("pin")
@click.argument("jid")
@click.argument("fingerprint", nargs=-1, required=True)
@click.pass_obj
def _pin(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> None:
    """Write a fingerprint of JID into the account, for the policy `pinned`.

    Works without a connection; a bot that runs takes it up when it starts again.
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
