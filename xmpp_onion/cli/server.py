"""``xmpp-onion server``: an onion-only server out of one folder."""

import asyncio
import dataclasses
from pathlib import Path

import click

from xmpp_onion.address import OnionAddress
from xmpp_onion.cli import (
    door,
    server_backup,
    server_check,
    server_invite,
    server_rotate,
)
from xmpp_onion.cli.server_up import serve, serve_in_background
from xmpp_onion.cli.server_view import say_state
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import ServerError
from xmpp_onion.server import (
    STAMP_LIMIT,
    Archive,
    Door,
    Engine,
    Federation,
    Options,
    State,
    initialise,
    read_health,
    stop,
)
from xmpp_onion.server.folder import Folder

__all__ = ["command"]

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group("server")
def command() -> None:
    """Run an onion-only server: no domain, no open port, no root."""


command.add_command(door.command)
command.add_command(server_check.command)
command.add_command(server_invite.command)
command.add_command(server_backup.backup_command)
command.add_command(server_backup.restore_command)
command.add_command(server_rotate.command)


@command.command("init")
@_FOLDER
@click.option(
    "--door",
    type=click.Choice([door.value for door in Door]),
    default=None,
    help="Who can find it; public if nothing was chosen.",
)
@click.option(
    "--federation",
    type=click.Choice([mode.value for mode in Federation]),
    default=None,
    help="Which other servers it talks to; all onions if nothing was chosen.",
)
@click.option(
    "--peer", "peers", multiple=True, metavar="ONION",
    help="One of the listed servers; may be given again. Replaces the list.",
)  # fmt: skip
@click.option(
    "--stamp", "stamp_bits", type=click.IntRange(0, STAMP_LIMIT), default=None,
    metavar="BITS",
    help="What strangers of other servers pay for a first word; 0 is nothing.",
)  # fmt: skip
@click.option(
    "--archive",
    type=click.Choice([place.value for place in Archive]),
    default=None,
    help="Where messages are kept; disk if nothing was chosen.",
)
@click.option(
    "--engine",
    type=click.Choice([engine.value for engine in Engine]),
    default=None,
    help="What speaks XMPP; prosody if nothing was chosen.",
)
@click.pass_obj
def _init(
    settings: Settings,
    folder: Path,
    *,
    door: str | None,
    federation: str | None,
    peers: tuple[str, ...],
    stamp_bits: int | None,
    archive: str | None,
    engine: str | None,
) -> None:
    """Make a server in DIR: its keys and configuration.

    Nothing is started. What is there already is kept, but for what these options
    say; a server that runs becomes it at its next start.
    """
    listed = tuple(OnionAddress(peer) for peer in peers)

    def change(options: Options) -> Options:
        options = _with_engine(options, engine, federation)
        changed = dataclasses.replace(
            options,
            door=Door(door or options.door),
            federation=Federation(federation or options.federation),
            peers=listed or options.peers,
            archive=Archive(archive or options.archive),
            stamp_bits=options.stamp_bits if stamp_bits is None else stamp_bits,
        )
        _check_partners(changed, federation, listed)
        return changed

    if not (folder / "server.json").exists():
        change(Options())  # what is refused makes nothing
    onion = initialise(folder, change)
    settings.output.result(
        {"v": 1, "event": "initialised", "onion": onion, "folder": str(folder)},
        f"{onion}\nStart it: xmpp-onion server up {folder}",
    )


def _with_engine(options: Options, engine: str | None, mode: str | None) -> Options:
    """Return the options with another engine, as open to others as that can be."""
    chosen = Engine(engine or options.engine)
    if chosen is not Engine.EJABBERD:
        return dataclasses.replace(options, engine=chosen)
    if mode not in {None, Federation.OFF.value}:
        raise ServerError(
            "this server cannot talk to others",
            why="ejabberd dials no onion, and would look up its name outside of Tor",
            fix="Leave out --federation, or choose --engine prosody.",
        )
    return dataclasses.replace(options, engine=chosen, federation=Federation.OFF)


def _check_partners(
    options: Options, mode: str | None, listed: tuple[OnionAddress, ...]
) -> None:
    """Refuse what was asked for about other servers, if it would have no effect."""
    is_private = options.door is Door.PRIVATE
    if is_private and (listed or mode not in {None, Federation.OFF.value}):
        raise ServerError(
            "this server cannot talk to others",
            why="its door is private: they would have to find it, to make sure of it",
            fix="Choose --door both: your people come by the private one as well.",
        )
    if listed and options.federation is not Federation.LISTED:
        # Not implied: it would shut out everybody else, unsaid.
        raise click.UsageError(
            f"--peer has no effect with --federation {options.federation.value}: "
            "add --federation listed, to talk to these servers and no others"
        )


@command.command("up")
@_FOLDER
@click.option(
    "--detach",
    is_flag=True,
    help="In the background, started again if it dies; until `server down`.",
)
@click.option("--supervised", is_flag=True, hidden=True)
@click.pass_obj
def _up(settings: Settings, folder: Path, *, detach: bool, supervised: bool) -> int:
    """Run the server of DIR until Ctrl-C, and show how it is.

    `server down DIR` and SIGTERM end it as well. Makes DIR first if it is new.
    What ends by itself is started again: Prosody, or a Tor of our own.
    """
    if detach:
        return serve_in_background(settings, folder)
    serve(settings, folder, supervised=supervised)
    return 0


@command.command("status")
@_FOLDER
@click.pass_obj
def _status(settings: Settings, folder: Path) -> int:
    """Tell name and state of the server of DIR.

    The exit code is 0 if it is up, else 7. Whoever runs it: another terminal,
    --detach, or systemd.
    """
    health = asyncio.run(read_health(folder))
    onion = Folder(folder, None).read_onion()
    load, words = health.load, [onion, say_state(health.state)]
    if load.version:
        words.append(
            f"{load.sessions} logged in, {load.servers} servers linked, "
            f"{load.queue} stanzas wait. Prosody {load.version}."
        )
    if health.tells_circuits is False:
        words.append("Its Tor does not tell circuits: they have no limits.")
    line = {"v": 1, **health.as_line(), "onion": onion}
    settings.output.result(line, "\n".join(words))
    return 0 if health.state is State.UP else ServerError.exit_code


@command.command("down")
@_FOLDER
@click.pass_obj
def _down(settings: Settings, folder: Path) -> None:
    """Stop the running server of DIR."""
    asyncio.run(stop(folder))
    settings.output.result(
        {"v": 1, "event": "stopped", "folder": str(folder)}, "The server is down."
    )
