"""``xmpp-onion account move``: go with the server to its new name."""

import asyncio
import sys
from datetime import UTC, datetime

import click

from xmpp_onion.account import Account
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.cli.reach import check_free, hold, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import MovedError, ServerError
from xmpp_onion.moves import Move

__all__ = ["command"]


@click.command("move")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(settings: Settings, *, yes: bool) -> int:
    """Follow your server to the name that it has now.

    Only if it proves that with the keys of both names. Your keys, devices, contacts,
    rooms and what you decided about them stay; the server's name changes in all of it.
    """
    check_free(settings)
    account = load_account(settings)
    return asyncio.run(_move(settings, account, yes=yes))


async def _move(settings: Settings, account: Account, *, yes: bool) -> int:
    from xmpp_onion import moving  # noqa: PLC0415 - it takes a second to load

    move = None
    async with until_terminated():
        move = await moving.known_move(account) or await _ask(settings, account)
    if move is None:
        return 130  # told to end
    account.follow(move)  # or say why not, before somebody is asked
    settings.output.note(
        f"Your server was  {move.old}\n"
        f"and is now       {move.new}\n"
        f"since            {move.at:%Y-%m-%d %H:%M} UTC\n"
        "Both names signed that. It proves what who runs the server wants, no more."
    )
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: use --yes")
    if not yes:
        click.confirm("Follow it?", abort=True, err=True)
    account = await moving.follow(account, move)
    settings.output.result(
        {
            "v": 1,
            "event": "followed",
            "jid": account.jid,
            "old": move.old,
            "new": move.new,
        },
        f"You are {account.jid} now.",
    )
    return 0


async def _ask(settings: Settings, account: Account) -> Move | None:
    """Return what the server says at a login.

    Raises:
        ServerError: It is where it was.
    """
    try:
        async with hold(settings, account):
            pass
    except* MovedError as group:
        error = group.exceptions[0]
        assert isinstance(error, MovedError)  # noqa: S101 - the group has no other
        found = error.document
    else:
        raise ServerError(
            "your server has not moved",
            why="it lets you in under the name that you know",
            fix="There is nothing to do.",
        )
    return Move.read(found, old=account.jid.domain, now=datetime.now(UTC))
