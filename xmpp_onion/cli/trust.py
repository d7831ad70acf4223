"""``xmpp-onion trust``: whose devices are believed."""

import sys
from dataclasses import replace
from typing import BinaryIO

import click

from xmpp_onion.account import Account, parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.chat import Line
from xmpp_onion.cli.devices import grouped, list_devices, told
from xmpp_onion.cli.qr import with_code
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings
from xmpp_onion.e2ee.trust import Trust, parse_fingerprint
from xmpp_onion.e2ee.trust_message_uri import is_trust_message, read_trust_message
from xmpp_onion.e2ee.trust_text import read_entries
from xmpp_onion.e2ee.uri import TrustUri

__all__ = ["command"]

# Some 3,000 decisions; in the JSON of a request it may grow to twice as much.
_IMPORT_LIMIT_BYTES = 400 * 1024


@click.group("trust")
def command() -> None:
    """Whose devices you believe."""


@command.command("list")
@click.argument("jid", required=False)
@click.pass_obj
def _list(settings: Settings, *, jid: str | None) -> int:
    """List the devices of JID, or your own."""
    return list_devices(settings, jid)


@command.command("verify")
@click.argument("jid", metavar="JID|URI")
@click.argument("fingerprint", nargs=-1)
@click.pass_obj
def _verify(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> int:
    """Believe a device of JID, or all that a scanned URI names.

    Compare its FINGERPRINT with the owner first, over another channel. It has 64
    hex digits; groups of them are fine. Without one, at a terminal, you are asked for
    its last two groups as the owner reads them out.

    The URI is that of `trust qr`, or of the QR code that Conversations shows; one
    that contradicts what was verified changes nothing. A trust message URI may say
    whom not to believe as well.
    """
    if not fingerprint:
        if not jid.lower().startswith("xmpp:"):
            return _compare(settings, parse_recipient(jid))
        if is_trust_message(jid):
            read_trust_message(jid)  # before anybody logs in for it
            uri = jid.strip()
        else:
            uri = str(TrustUri.parse(jid))
        return run(settings, {"do": "verify-uri", "uri": uri}, told)
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
def _pin(settings: Settings, jid: str, fingerprint: tuple[str, ...]) -> int:
    """Pin a FINGERPRINT of JID in the account.

    The policy `pinned` believes nobody else. Works without a connection; a bot that
    runs believes it at once.
    """
    owner, digits = parse_recipient(jid), parse_fingerprint("".join(fingerprint))
    request: Line = {"do": "pin", "jid": owner, "fingerprint": digits}

    def pin(account: Account) -> Line:
        account.update(lambda now: now.pin(owner, digits))
        return {"v": 1, "event": "pinned", "jid": owner, "fingerprint": digits}

    # Its holder has opened an encrypted account: nobody has to be asked for that.
    return run(settings, request, _told_pin, offline=pin)


def _told_pin(line: Line) -> str:
    return f"Pinned {line['jid']}: {line['fingerprint']}"


@command.command("qr")
@click.pass_obj
def _qr(settings: Settings) -> int:
    """Show your devices as a code to scan, and as its URI.

    It names this device, and your others that you have verified.
    """
    return run(settings, {"do": "own-uri"}, _told_uri)


def _told_uri(line: Line) -> str:
    return with_code(str(line["uri"]))


@command.command("policy")
@click.argument("jid", required=False)
@click.argument(
    "policy", required=False, type=click.Choice([*map(str, Trust), "default"])
)
@click.pass_obj
def _policy(settings: Settings, jid: str | None, policy: str | None) -> int:
    """Say what to do about new devices of JID alone.

    A policy, or `default`. Without arguments, show the account's policy and the
    contacts with their own. New devices of your own account have to be confirmed
    under every policy.
    """
    if jid is None:
        return run(settings, {"do": "policies"}, _told_policy)
    if policy is None:
        raise click.UsageError("say which policy, or default")
    owner = parse_recipient(jid)
    request: Line = {"do": "policy", "jid": owner, "policy": policy}
    return run(settings, request, _told_policy)


def _told_policy(line: Line) -> str:
    note = " (the account's)" if line["default"] else ""
    return f"{line['jid']}: {line['policy']}{note}"


@command.command("automatic")
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.pass_obj
def _automatic(settings: Settings, switch: str) -> int:
    """Let verified devices tell each other what to believe.

    It is on unless you switch it off. Works without a connection; a program that
    runs does so at once.
    """
    is_on = switch == "on"

    def turn(account: Account) -> Line:
        account.update(lambda now: replace(now, automatic_trust=is_on))
        return {"v": 1, "event": "automatic-trust", "jid": account.jid, "on": is_on}

    request: Line = {"do": "automatic-trust", "on": is_on}
    return run(settings, request, _told_automatic, offline=turn)


def _told_automatic(line: Line) -> str:
    return f"Automatic trust is {'on' if line['on'] else 'off'}."


@command.command("export")
@click.pass_obj
def _export(settings: Settings) -> int:
    """Print what you decided about devices.

    One a line, always in one order.
    """
    nothing = "Nothing was decided yet."
    return run(settings, {"do": "export-trust"}, _told_decision, nothing=nothing)


def _told_decision(line: Line) -> str:
    return f"{line['jid']} {line['fingerprint']} {line['trust']}"


@command.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--yes", is_flag=True, help="Change it; else it is only shown.")
@click.pass_obj
def _import(settings: Settings, file: BinaryIO, *, yes: bool) -> int:
    """Take over the decisions in FILE; - for stdin.

    As `export` prints them. What follows a # in a line does not count. A device
    that is not known yet is decided about when it appears.
    """
    raw = file.read(_IMPORT_LIMIT_BYTES + 1)
    if len(raw) > _IMPORT_LIMIT_BYTES:
        raise click.UsageError("the file is too long")
    text = raw.decode("utf-8", "replace")
    read_entries(text)  # before anybody logs in for it
    return run(
        settings,
        {"do": "import-trust", "text": text, "yes": yes},
        _told_change,
        nothing="Nothing would change: all of it is known.",
        closing="" if yes else "Nothing was changed. With --yes it is.",
    )


def _told_change(line: Line) -> str:
    return (
        f"{line['jid']} {line['before']} -> {line['after']}\n"
        f"  {grouped(str(line['fingerprint']))}"
    )


def _compare(settings: Settings, owner: JID) -> int:
    if settings.as_json or not sys.stdin.isatty():
        raise click.UsageError(
            "give the FINGERPRINT that you compared, or the URI alone"
        )
    from xmpp_onion.cli.trust_compare import compare  # noqa: PLC0415 - a person waits

    return compare(settings, owner)


def _decide(
    settings: Settings, what: str, jid: str, fingerprint: tuple[str, ...]
) -> int:
    owner, digits = parse_recipient(jid), parse_fingerprint("".join(fingerprint))
    return run(settings, {"do": what, "jid": owner, "fingerprint": digits}, told)
