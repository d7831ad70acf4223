"""``server invite``: who may come, and what of that is still open."""

import asyncio
from datetime import timedelta
from pathlib import Path

import click

from xmpp_onion.address import Invite
from xmpp_onion.cli.duration import duration
from xmpp_onion.cli.qr import qr_svg, with_code
from xmpp_onion.cli.settings import Settings
from xmpp_onion.server import (
    OpenInvite,
    create_introduction,
    create_invite,
    list_invites,
    publish_page,
    revoke_invite,
)

__all__ = ["command"]

# A guest has to install something first.
_SHORTEST = timedelta(minutes=1)


@click.command("invite")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--username", default="", metavar="NAME", help="For this name alone.")
@click.option(
    "--contact", default="", metavar="NAME",
    help="For a contact of NAME: somebody who has an account, at any server.",
)  # fmt: skip
@click.option(
    "--room", default="", metavar="R",
    help="With a room of this server: the account becomes a member.",
)  # fmt: skip
@click.option(
    "--expires", "lifetime", callback=duration(_SHORTEST), default="3d",
    show_default=True, metavar="DURATION",
    help="How long it is good for: 30m, 12h, 3d, 2w.",
)  # fmt: skip
@click.option(
    "--page", is_flag=True,
    help="And a page on the onion that shows it, until it is used.",
)  # fmt: skip
@click.option("--list", "do_list", is_flag=True, help="Show what is open.")
@click.option("--revoke", default="", metavar="ID", help="Take one back, by its id.")
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    folder: Path,
    *,
    username: str,
    contact: str,
    room: str,
    lifetime: timedelta,
    page: bool,
    do_list: bool,
    revoke: str,
) -> None:
    """Make an invite for one account or one contact, good once.

    The server of DIR has to run. On a terminal there is a QR code as well.
    """
    if bool(contact) + bool(username or room or page) + do_list + bool(revoke) > 1:
        raise click.UsageError(
            "one of --contact, --list, --revoke, or --username, --room and --page"
        )
    if do_list:
        _list(settings, folder)
    elif revoke:
        invite = asyncio.run(revoke_invite(folder, revoke))
        settings.output.result(_line("invite-revoked", invite), "It is good no more.")
    elif contact:
        uri = asyncio.run(create_introduction(folder, contact, lifetime=lifetime))
        _show(settings, uri, {})
        settings.output.note(f"It makes one contact of {contact}. Quote it in a shell.")
    else:
        made = asyncio.run(
            create_invite(folder, username, lifetime=lifetime, room=room)
        )
        _tell(settings, folder, made, page=page)


def _tell(settings: Settings, folder: Path, made: Invite, *, page: bool) -> None:
    expires = f"{made.expires:%Y-%m-%dT%H:%M:%SZ}" if made.expires else None
    more: dict[str, object] = {"expires": expires}
    if page:
        more["page"] = asyncio.run(publish_page(folder, made, qr_svg(made)))
    _show(settings, made, more)
    settings.output.note(f"It makes one account, until {expires}. Quote it in a shell.")


def _show(settings: Settings, uri: str, more: dict[str, object]) -> None:
    page = f"\n{more['page']}" if "page" in more else ""
    settings.output.result(
        {"v": 1, "event": "invite", "uri": uri, **more}, f"{with_code(uri)}{page}"
    )


def _list(settings: Settings, folder: Path) -> None:
    invites = asyncio.run(list_invites(folder))
    for each in invites:
        whom = each.local or "any name"
        room = f", with {each.room}" if each.room else ""
        settings.output.result(
            _line("open-invite", each),
            f"{each.name}  {each.kind} {whom}{room}, "
            f"until {each.expires:%Y-%m-%d %H:%M} UTC",
        )
    if not invites:
        settings.output.note("No invite is open.")


def _line(event: str, invite: OpenInvite) -> dict[str, object]:
    return {
        "v": 1,
        "event": event,
        "id": invite.name,
        "kind": invite.kind,
        "name": invite.local,
        "room": invite.room or None,
        "expires": f"{invite.expires:%Y-%m-%dT%H:%M:%SZ}",
    }
