"""``xmpp-onion server``: an onion-only server out of one folder."""

import asyncio
import re
import sys
from datetime import timedelta
from pathlib import Path

import click

from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.tor import find_tor
from xmpp_onion.cli.qr import qr_code
from xmpp_onion.cli.reach import watch_bootstrap
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import ProsodyError
from xmpp_onion.server import Server, create_invite, initialise, stop

__all__ = ["command"]

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _read_duration(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    param: click.Parameter,
    value: str,
) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([mhdw])", value)
    if found is None:
        raise click.BadParameter(
            f"{value!a} is not a duration such as 12h or 3d", param=param
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group("server")
def command() -> None:
    """Run an onion-only server: no domain, no open port, no root."""


@command.command("init")
@_FOLDER
@click.pass_obj
def _init(settings: Settings, folder: Path) -> None:
    """Make a server in DIR: its keys and configuration.

    Nothing is started. What is there already is kept.
    """
    onion = initialise(folder)
    settings.output.result(
        {"v": 1, "event": "initialised", "onion": onion, "folder": str(folder)},
        f"{onion}\nStart it: xmpp-onion server up {folder}",
    )


@command.command("up")
@_FOLDER
@click.pass_obj
def _up(settings: Settings, folder: Path) -> None:
    """Run the server of DIR until Ctrl-C.

    `server down DIR` and SIGTERM end it as well. Makes DIR first if it is new.
    """
    asyncio.run(_serve(settings, folder))


async def _serve(settings: Settings, folder: Path) -> None:
    output = settings.output
    if settings.socks is None or (folder / "onion.key").exists():
        initialise(folder)  # what is wrong with it shows before Tor is started
    async with (
        until_terminated(),
        find_tor(folder / "tor", socks=settings.socks, control=settings.control) as tor,
    ):
        await watch_bootstrap(tor, settings)
        output.note("Starting Prosody and publishing its onion service…")
        async with Server(folder, tor=tor) as server:
            output.result(
                {
                    "v": 1,
                    "event": "server",
                    "onion": server.onion,
                    "c2s": 5222,
                    "fingerprint": server.certificate_fingerprint,
                },
                f"{server.onion} is up. Invite somebody: "
                f"xmpp-onion server invite {folder}",
            )
            try:
                await server.wait()
            except ProsodyError as error:
                if error.exit_status != 0:
                    raise
                output.note("The server was told to end.")


@command.command("invite")
@_FOLDER
@click.option("--username", default="", metavar="NAME", help="For this name alone.")
@click.option(
    "--expires", "lifetime", callback=_read_duration, default="3d",
    show_default=True, metavar="DURATION",
    help="How long it is good for: 30m, 12h, 3d, 2w.",
)  # fmt: skip
@click.pass_obj
def _invite(
    settings: Settings, folder: Path, *, username: str, lifetime: timedelta
) -> None:
    """Make an invite for one account, good once.

    The server of DIR has to run. On a terminal there is a QR code as well.
    """
    invite = asyncio.run(create_invite(folder, username, lifetime=lifetime))
    # A program that reads us wants the URI, a person may want to scan it.
    picture = f"\n\n{qr_code(invite)}" if sys.stdout.isatty() else ""
    expires = f"{invite.expires:%Y-%m-%dT%H:%M:%SZ}" if invite.expires else None
    settings.output.result(
        {"v": 1, "event": "invite", "uri": invite, "expires": expires},
        f"{invite}{picture}",
    )
    settings.output.note(f"It makes one account, until {expires}. Quote it in a shell.")


@command.command("down")
@_FOLDER
@click.pass_obj
def _down(settings: Settings, folder: Path) -> None:
    """Stop the running server of DIR."""
    asyncio.run(stop(folder))
    settings.output.result(
        {"v": 1, "event": "stopped", "folder": str(folder)}, "The server is down."
    )
