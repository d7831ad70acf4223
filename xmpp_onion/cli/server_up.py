"""``xmpp-onion server up``: run a server, and show how it is."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.tor import find_server_tor
from xmpp_onion.cli.reach import watch_bootstrap
from xmpp_onion.cli.server_view import View, open_view, say_up
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreError, TorNotRunningError
from xmpp_onion.server import (
    Ejabberd,
    Engine,
    Health,
    Options,
    Server,
    State,
    detach,
    initialise,
    keep,
    note_state,
)
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import check_idle, kept
from xmpp_onion.server.programs import check_programs
from xmpp_onion.server.restarts import note_restart
from xmpp_onion.transport import Tor

__all__ = ["serve", "serve_in_background"]

log = logging.getLogger(__name__)

# What ended, by how a server is then.
_ENDED = {State.MENDING: "prosody", State.UNREACHABLE: "tor"}


def serve_in_background(settings: Settings, folder: Path) -> int:
    """Start the server of a folder in the background; return the exit code.

    Returns once it is up: until then there is somebody to tell what is wrong.
    """
    initialise(folder)
    check_idle(Folder(folder, None))
    settings.output.note("Starting in the background; Tor may take a minute…")
    options = {"--socks": settings.socks, "--control": settings.control}
    line = detach(
        folder,
        [
            *(sys.executable, "-m", "xmpp_onion", "--json"),
            *("-v" for _ in range(settings.verbosity)),
            *(word for name, at in options.items() if at for word in (name, at)),
            *("server", "up", "--supervised", str(folder.absolute())),
        ],
    )
    if line["event"] == "error":
        settings.output.error(line)
        return int(str(line["code"]))
    settings.output.result(line, say_up(str(line["onion"]), folder))
    return 0


def serve(settings: Settings, folder: Path, *, supervised: bool) -> None:
    """Run the server of a folder until it is told to end.

    Args:
        settings: The global options.
        folder: The server's folder, made if it is new.
        supervised: Another process keeps us running.
    """
    asyncio.run(_serve(settings, folder, supervised=supervised))


async def _serve(settings: Settings, folder: Path, *, supervised: bool) -> None:
    async with until_terminated(), AsyncExitStack() as stack:

        async def settle() -> None:
            initialise(folder)
            if not supervised:
                await stack.enter_async_context(kept(Folder(folder, None)))
            note_state(folder, State.STARTING)

        await _check_programs(settings, folder)
        # What is wrong with the folder shows before Tor is started; a Tor that was
        # named and is not there leaves no new folder behind.
        is_early = settings.socks is None or (folder / "onion.key").exists()
        if is_early:
            await settle()
        tor = await stack.enter_async_context(
            find_server_tor(
                folder / "tor",
                socks=settings.socks,
                control=settings.control,
                extra=Folder(folder, None).read_torrc(),
            )
        )
        if not is_early:
            await settle()
        await watch_bootstrap(tor, settings)
        if Folder(folder, None).read_options().engine is Engine.EJABBERD:
            await _serve_ejabberd(settings, folder, tor)
        else:
            await _serve_prosody(settings, folder, tor)


async def _serve_prosody(settings: Settings, folder: Path, tor: Tor) -> None:
    """Run Prosody, and show how it is, until we are told to end."""
    settings.output.note("Starting Prosody and publishing its onion service…")
    async with Server(folder, tor=tor) as server:
        _note(folder, await server.health())
        view = open_view(
            settings.output,
            server.onion,
            fingerprint=server.certificate_fingerprint,
            folder=folder,
        )
        with view as shown, _hanging_up() as again:
            await _keep(server, folder, shown, again)
            settings.output.note("The server was told to end.")


async def _check_programs(settings: Settings, folder: Path) -> None:
    """Refuse to begin without a program that is needed once Tor has its network."""
    needs_tor = settings.socks is None and settings.control is None
    if needs_tor and shutil.which("tor") is None:
        with contextlib.suppress(TorNotRunningError):
            async with Tor.attach():
                needs_tor = False
    place = Folder(folder, None)
    options = place.read_options() if place.options_file.exists() else Options()
    check_programs(options.engine, needs_tor=needs_tor)


async def _serve_ejabberd(settings: Settings, folder: Path, tor: Tor) -> None:
    """Run ejabberd until it ends; what it has to do nobody asks it."""
    settings.output.note("Starting ejabberd and publishing its onion service…")
    async with Ejabberd(folder, tor=tor) as server:
        note_state(folder, State.UP)
        settings.output.result(
            {
                "v": 1,
                "event": "server",
                "onion": server.onion,
                "c2s": 5222,
                "fingerprint": server.certificate_fingerprint,
            },
            f"{server.onion} is up, for its own people; it has no invites.",
        )
        await server.wait()


async def _keep(server: Server, folder: Path, view: View, again: asyncio.Event) -> None:
    reader = server.follow_log()
    last: tuple[State, bool | None] = (State.UP, server.tells_circuits)
    async for health in keep(server, again=again):
        view.show(health, reader.read_new())
        if (health.state, health.tells_circuits) != last:
            if what := _ENDED.get(health.state):
                note_restart(folder, what)
            last = (health.state, health.tells_circuits)
            _note(folder, health)


def _note(folder: Path, health: Health) -> None:
    """Write down how the server is; it goes on where there is no room for that."""
    try:
        note_state(folder, health.state, tells_circuits=health.tells_circuits)
    except StoreError as error:
        log.warning("%s: %s", error.what, error.why)


@contextlib.contextmanager
def _hanging_up() -> Iterator[asyncio.Event]:
    """Yield what is set by SIGHUP; of a terminal that went away it is the end."""
    loop, again = asyncio.get_running_loop(), asyncio.Event()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        yield again
        return
    if sys.stdin is not None and sys.stdin.isatty():
        loop.add_signal_handler(signal.SIGHUP, os.kill, os.getpid(), signal.SIGTERM)
    else:
        loop.add_signal_handler(signal.SIGHUP, again.set)
    try:
        yield again
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
