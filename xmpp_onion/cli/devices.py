"""``xmpp-onion devices``: whose devices there are, with their fingerprints."""

import shlex
import sys

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.chat import KeyChanged, KeyReuse, Line, NewDevice, TrustChanged
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings
from xmpp_onion.e2ee.trust import parse_label

__all__ = ["command", "grouped", "list_devices", "told", "told_alarm"]


@click.group("devices")
def command() -> None:
    """Devices and fingerprints, yours and others'."""


@command.command("list")
@click.argument("jid", required=False)
@click.pass_obj
def _list(settings: Settings, *, jid: str | None) -> int:
    """List the devices of JID, or your own."""
    return list_devices(settings, jid)


def list_devices(settings: Settings, jid: str | None) -> int:
    """Print the devices of somebody, or our own; return the exit code."""
    owner = parse_recipient(jid) if jid else ""
    nothing = f"{owner or 'Your account'} shows us no device."
    return run(settings, {"do": "devices", "jid": owner}, told, nothing=nothing)


@command.command("label")
@click.argument("text")
@click.pass_obj
def _label(settings: Settings, text: str) -> int:
    """Call this device TEXT, for others to see; '' for no name.

    Only clients that speak the newer OMEMO show it.
    """
    return run(settings, {"do": "label", "label": parse_label(text)}, told)


@command.command("remove")
@click.argument("number", metavar="ID", type=click.IntRange(1, 2**31 - 1))
@click.option("--yes", is_flag=True, help="Do not ask; this very device, too.")
@click.pass_obj
def _remove(settings: Settings, number: int, *, yes: bool) -> int:
    """Take one of your own devices out of your account's list.

    Nobody encrypts for it any more. If it is still in use it puts itself back;
    revoke it as well if it is in foreign hands.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: use --yes")
    if not yes:
        click.confirm(f"Nobody will write to device {number} any more. Remove it?",
            abort=True, err=True)  # fmt: skip
    request: Line = {"do": "remove-device", "device": number, "yes": yes}
    return run(settings, request, told)


def told(line: Line) -> str:
    """Return a device for a person: the fingerprint in groups, as others show it."""
    label = f" {visible(str(line['label']))}" if line["label"] else ""
    state = ", this one" if line.get("this") else ""
    state += "" if line["active"] else ", not in use"
    if line.get("seen"):
        state += f", last seen {str(line['seen'])[:10]}"
    return (
        f"{line['jid']} {line['device']} ({line['trust']}{state}){label}\n"
        f"  {grouped(str(line['fingerprint']))}"
    )


def grouped(fingerprint: str) -> str:
    """Return a fingerprint in eight groups of eight, as other clients show it."""
    return " ".join(fingerprint[at : at + 8] for at in range(0, len(fingerprint), 8))


def told_alarm(event: NewDevice | KeyChanged | KeyReuse | TrustChanged) -> str:
    """Return what happened to a device for a person, with what to do about it."""
    who, digits = visible(event.sender), grouped(event.fingerprint)
    match event:
        case NewDevice():
            whose = "your account" if event.own else who
            return (
                f"[{whose} has a new device {event.device}, {event.trust}]\n"
                f"  | {digits}\n"
                "  | Compare it with its owner, then: xmpp-onion trust verify "
                f"{shlex.quote(who)} {event.fingerprint}"
            )
        case KeyChanged():
            return (
                f"[ALARM: device {event.device} of {who} shows another key; it is "
                f"refused, and the one before is kept]\n  | {digits}"
            )
        case KeyReuse():
            return (
                f"[ALARM: {who} shows a key of {visible(event.owner)} as his own; it "
                f"is refused]\n  | {digits}"
            )
        case TrustChanged():
            return (
                f"[device {event.device} of {who} is {event.trust} now: a verified "
                f"device of {visible(event.by)} said so]\n  | {digits}"
            )
