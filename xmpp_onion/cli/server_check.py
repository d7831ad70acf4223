"""``xmpp-onion server check``: what is well with a server, and what is not."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from xmpp_onion.agent.findings import check_line
from xmpp_onion.agent.network import check_clock, check_network
from xmpp_onion.agent.tor import find_checking_tor
from xmpp_onion.chat import Line
from xmpp_onion.cli.output import say_finding
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.server import Door, Options, State, examine, read_health, visit
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.outside import check_doors, check_guards
from xmpp_onion.transport import Endpoint, Tor

__all__ = ["command"]


@click.command("check")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Look at this machine alone.")
@click.pass_obj
def command(settings: Settings, folder: Path, *, offline: bool) -> int:
    """Look over the server of DIR; say how to mend what is broken.

    Whether it runs or not. Exits with 0 if all is well, else with 7 if something is
    wrong with the server, or with 3 if it is Tor alone.
    """
    if settings.socks is not None:
        Endpoint.parse(settings.socks)
    return asyncio.run(_examine(settings, folder.absolute(), offline=offline))


async def _examine(settings: Settings, folder: Path, *, offline: bool) -> int:
    worst = 0
    async for line in _lines(settings, folder, offline=offline):
        settings.output.result(line, say_finding(line))
        # The lower the number, the more it is that of a network that may come back.
        worst = max(worst, int(str(line["code"])))
    return worst


async def _lines(
    settings: Settings, folder: Path, *, offline: bool
) -> AsyncIterator[Line]:
    async for line in examine(folder, now=datetime.now(UTC)):
        yield line
    if offline:
        return
    async with AsyncExitStack() as stack:
        try:
            # A Tor of our own, if none runs, must not leave a folder behind.
            spare = stack.enter_context(tempfile.TemporaryDirectory(prefix="xo-"))
            place = Folder(folder, find_unprivileged_user())
            options = place.read_options()
            tor = await stack.enter_async_context(
                find_checking_tor(
                    place.path / "tor",
                    options.socks,
                    spare=Path(spare) / "tor",
                    socks=settings.socks,
                    control=settings.control,
                )
            )
            network = await check_network(tor)
        except XmppOnionError as error:
            yield check_line("tor", error)
            return
        yield check_line("tor", network)
        yield check_line("clock", await check_clock(tor, datetime.now(UTC)))
        async for line in _look(tor, place, options):
            yield line


async def _look(tor: Tor, place: Folder, options: Options) -> AsyncIterator[Line]:
    """Yield how the server is seen through Tor."""
    if (await read_health(place.path)).state is not State.UP:
        for name in ("published", "guards", "reach"):
            yield check_line(name, "not tried: the server does not run")
        return
    yield check_line("published", await check_doors(tor, place, options))
    yield check_line("guards", await check_guards(tor, place, options))
    if options.door is Door.PRIVATE:
        yield check_line("reach", "not tried: its one door is for who has a key")
        return
    fingerprint = place.read_certificate_fingerprint()
    finding = await visit(tor, place.read_onion(), fingerprint=fingerprint)
    yield check_line("reach", finding)
