"""``xmpp-onion contact move``: go on with somebody under their server's new name."""

import asyncio
import sys

import click

from xmpp_onion.account import Account, parse_recipient
from xmpp_onion.address import JID
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.cli.reach import check_free, hold, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import AddressError

__all__ = ["command"]


@click.command("move")
@click.argument("jid")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(settings: Settings, jid: str, *, yes: bool) -> int:
    """Go on with JID under the name that their server has now.

    Only if their server proved that with the keys of both names. The keys that you know
    of them, and what you decided about those, stay; JID is taken off your contacts, and
    the new address is asked to be one.
    """
    who = parse_recipient(jid)
    check_free(settings)
    return asyncio.run(_move(settings, load_account(settings), who, yes=yes))


async def _move(settings: Settings, account: Account, jid: JID, *, yes: bool) -> int:
    from xmpp_onion import moving  # noqa: PLC0415 - it takes a second to load

    move = await moving.known_contact_move(account, jid)
    if move is None:
        raise AddressError(
            f"nobody said that {jid} has moved",
            why="their server tells it to who writes there, or logs in, as a contact",
            fix=f"Write to them once: xmpp-onion send {jid}",
        )
    new = move.rename(jid)
    settings.output.note(
        f"{jid}\nis now {new}\nsince {move.at:%Y-%m-%d %H:%M} UTC\n"
        "Both names of the server signed that: it is the word of who runs the server, "
        "and not of the person.\nTheir keys stay those that you know."
    )
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: use --yes")
    if not yes:
        click.confirm("Go on with them there?", abort=True, err=True)
    account = await moving.follow_contact(account, jid, move)
    done = False
    async with until_terminated(), hold(settings, account) as client:
        await client.add_contact(new)
        await client.remove_contact(jid)
        done = True
    if not done:
        return 130  # told to end
    settings.output.result(
        {
            "v": 1,
            "event": "contact-followed",
            "jid": new,
            "old": move.old,
            "new": move.new,
        },
        f"{new} is your contact now.",
    )
    return 0
