"""``xmpp-onion contact``: people. Nothing is ever accepted by itself."""

from dataclasses import replace

import click

from xmpp_onion.account import Account, Receipts, parse_recipient
from xmpp_onion.address import JID, Introduction
from xmpp_onion.chat import Line
from xmpp_onion.cli import contact_move, timer
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings

__all__ = ["command"]

_MEANINGS = {
    "both": "you see each other",
    "to": "you see them",
    "from": "they see you",
    "none": "neither sees the other",
}


@click.group("contact")
def command() -> None:
    """People: ask, accept, refuse, list, remove, block."""


command.add_command(contact_move.command)

_timeout = click.option(
    "--timeout", metavar="S", type=click.FloatRange(min=0, min_open=True),
    help="Seconds for the connection and the answer; 30, and 180 for a login.",
)  # fmt: skip


@command.command("list")
@_timeout
@click.pass_obj
def _list(settings: Settings, timeout: float | None) -> int:
    """List your contacts. `contact block` lists who is blocked."""
    nothing = "You have none yet. Ask somebody: xmpp-onion contact add JID"
    return _do(settings, {"do": "contacts"}, timeout, nothing=nothing)


@command.command("add")
@click.argument("jid")
@_timeout
@click.pass_obj
def _add(settings: Settings, jid: str, timeout: float | None) -> int:
    """Ask JID to be a contact, and let JID see you."""
    who = Introduction(jid) if "?" in jid else parse_recipient(jid)
    return _do(settings, {"do": "add-contact", "jid": who}, timeout)


@command.command("requests")
@_timeout
@click.pass_obj
def _requests(settings: Settings, timeout: float | None) -> int:
    """List who asks to be a contact.

    The oldest 200, and how many more there are.
    """
    return _do(settings, {"do": "contact-requests"}, timeout, nothing="Nobody asks.")


@command.command("accept")
@click.argument("jid")
@_timeout
@click.pass_obj
def _accept(settings: Settings, jid: str, timeout: float | None) -> int:
    """Accept the request of JID, and ask back."""
    return _do(settings, {"do": "accept-contact", "jid": parse_recipient(jid)}, timeout)


@command.command("refuse")
@click.argument("jid", required=False)
@click.option("--all", "everybody", is_flag=True, help="All who wait.")
@_timeout
@click.pass_obj
def _refuse(
    settings: Settings, jid: str | None, timeout: float | None, *, everybody: bool
) -> int:
    """Refuse the request of JID, or do not let JID see you any more."""
    if everybody == (jid is not None):
        raise click.UsageError("Name one JID, or say --all.")
    if jid is None:
        do: Line = {"do": "refuse-contacts"}
        return _do(settings, do, timeout, nothing="Nobody asks.")
    return _do(settings, {"do": "refuse-contact", "jid": parse_recipient(jid)}, timeout)


@command.command("remove")
@click.argument("jid")
@_timeout
@click.pass_obj
def _remove(settings: Settings, jid: str, timeout: float | None) -> int:
    """Take JID off your contacts: neither sees the other any more."""
    return _do(settings, {"do": "remove-contact", "jid": parse_recipient(jid)}, timeout)


@command.command("block")
@click.argument("jid", required=False)
@click.option("--undo", is_flag=True, help="Let JID reach you again.")
@_timeout
@click.pass_obj
def _block(
    settings: Settings, jid: str | None, timeout: float | None, *, undo: bool
) -> int:
    """Drop all that comes from JID or a whole server.

    Without a JID, list who is blocked. Nobody is told. Your server drops it, so it
    costs you nothing.
    """
    if jid is None and undo:
        raise click.UsageError("Name the JID to let through again.")
    if jid is None:
        return _do(settings, {"do": "blocked"}, timeout, nothing="Nobody is blocked.")
    do = "unblock" if undo else "block"
    return _do(settings, {"do": do, "jid": JID(jid).bare}, timeout)


@command.command("receipts")
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.pass_obj
def _receipts(settings: Settings, switch: str) -> int:
    """Tell contacts that their messages arrived, or not.

    Off unless you switch it on. Whoever is no contact, or may not see you, is never
    told. Works without a connection, and at once where `listen` or a bot runs.
    """
    is_on = switch == "on"

    def turn(account: Account) -> Line:
        receipts = Receipts.CONTACTS if is_on else Receipts.NEVER
        account.update(lambda now: replace(now, receipts=receipts))
        return {"v": 1, "event": "receipts", "jid": account.jid, "on": is_on}

    request: Line = {"do": "receipts", "on": is_on}
    return run(settings, request, _told_receipts, offline=turn)


@command.command("timer")
@click.argument("jid")
@timer.argument
@click.pass_obj
def _timer(settings: Settings, jid: str, time: int | str | None) -> int:
    """Set, or show, how long what you say to JID may be kept.

    Such as 1d. Your store and those of clients that heed it erase it then. The
    other side sets its own. Needs no connection.
    """
    return timer.turn(settings, parse_recipient(jid), time)


def _told_receipts(line: Line) -> str:
    if line["on"]:
        return "Contacts who may see you are told when a message of theirs arrives."
    return "Nobody is told when a message arrives."


def _do(
    settings: Settings,
    request: Line,
    timeout: float | None = None,
    *,
    nothing: str = "",
) -> int:
    if timeout is not None:
        request = {**request, "timeout": timeout}
    return run(settings, request, _told, nothing=nothing)


def _told(line: Line) -> str:
    match line["event"]:
        case "request":
            return visible(f"{line['from']}: since {line['at']}")
        case "requests":
            return f"and {line['count']} more, for whom there is no room yet"
        case _:
            state = str(line["state"])
            asked = ", asked" if line.get("asked") else ""
            return visible(f"{line['jid']}: {_MEANINGS.get(state, state)}{asked}")
