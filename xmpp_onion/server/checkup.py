"""What is well with a server and what is not, and how to mend it.

Nothing is changed, and nothing but the folder is needed: where the server does not
run, the findings that need it say that they saw nothing.
"""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from xmpp_onion import private
from xmpp_onion.address import OnionAddress
from xmpp_onion.agent.findings import check_line
from xmpp_onion.agent.tor_program import check_tor_program
from xmpp_onion.chat import Line
from xmpp_onion.errors import ServerError, StorePermissionError, XmppOnionError
from xmpp_onion.server.certificate import find_fault
from xmpp_onion.server.clients import ClientKeys
from xmpp_onion.server.drift import check_configuration
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.health import Health, State, read_health
from xmpp_onion.server.options import Door, Engine, Federation, Options
from xmpp_onion.server.outside import check_circuits
from xmpp_onion.server.restarts import check_restarts
from xmpp_onion.server.running import Running, check_dns, check_listeners
from xmpp_onion.server.saved import check_backup
from xmpp_onion.server.versions import (
    judge_prosody,
    judge_tls,
    read_fixes,
    read_tls_fixes,
)

__all__ = ["examine"]

_Finding: TypeAlias = str | XmppOnionError

# A Prosody that cannot write loses what it was given. This is what people of a small
# server upload in a bad hour; the warning has to come before the end.
_SPACE_BYTES = 1024**3


async def examine(folder: Path, *, now: datetime) -> AsyncIterator[Line]:
    """Yield what is found about the server in ``folder``, as lines of a check.

    Args:
        folder: The server's folder.
        now: The time.

    Raises:
        ServerError: There is no server in the folder, or its options are damaged.
        StorePermissionError: The folder is not ours, or others can reach it.
    """
    place = Folder(folder, find_unprivileged_user())
    private.check_folder(place.path)
    onion, options = place.read_onion(), place.read_options()
    running, health = await Running.see(place, options), await read_health(place.path)
    yield check_line("state", _check_state(health))
    yield check_line("restarts", check_restarts(place, now))
    yield check_line("files", _check_files(place))
    yield check_line("certificate", _check_certificate(place, onion, now))
    yield check_line("configuration", check_configuration(place, onion, options))
    yield check_line("space", _check_space(shutil.disk_usage(place.data).free))
    yield check_line("backup", check_backup(place, now))
    yield check_line("prosody", await _check_prosody(options, running))
    yield check_line("tls", await _check_tls(options, running))
    yield check_line("tor program", await check_tor_program())
    yield check_line("door", _check_door(place, options))
    yield check_line("circuits", check_circuits(health, options))
    yield check_line("federation", _check_federation(options, running))
    yield check_line("listeners", check_listeners(place, options, running))
    yield check_line("dns", check_dns(options, running))


def _check_state(health: Health) -> _Finding:
    match health.state:
        case State.DOWN:
            return "it does not run: what follows is about its folder"
        case State.STARTING:
            return "it starts"
        case State.UP:
            load = health.load
            if not load.version:
                return "it runs; what it has to do is not counted"
            return (
                f"it runs: {load.sessions} logged in, {load.servers} servers linked, "
                f"{load.queue} stanzas wait"
            )
        case State.UNREACHABLE:
            return ServerError(
                "nobody can reach the server",
                why="Tor is away",
                fix="See to Tor; the onion is published again when it is back.",
            )
        case State.MENDING:
            return ServerError(
                "nobody can reach the server",
                why="Prosody ended, and is started again",
                fix="Read prosody/data/prosody.log in its folder.",
            )


def _check_files(place: Folder) -> _Finding:
    try:
        place.check()
        owner = None if place.run_as is None else place.run_as.uid
        private.check_folder(place.data, owner=owner)
        loose = sorted(_loose_files(place))
    except XmppOnionError as error:
        return error
    if loose:
        return StorePermissionError(
            f"others can reach files of the server: {loose[0]}",
            why=f"modes are too open, of {len(loose)} in all",
            fix=f"Take it from all others: chmod -R o-rwx {place.path}; "
            f"chmod go-rwx {loose[0]}",
        )
    return "keys, accounts and archive are closed to others"


def _loose_files(place: Folder) -> Iterator[Path]:
    """Yield what others may read or write, or a group may that is not to."""
    for name, folders, files in os.walk(place.path):
        for each in (*folders, *files):
            path = Path(name) / each
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            # Prosody's user reads what is made for it through its group.
            is_ours = path.parent == place.path and stat.S_ISREG(mode)
            if mode & (0o077 if is_ours else 0o007):
                yield path


def _check_certificate(place: Folder, onion: OnionAddress, now: datetime) -> _Finding:
    path = place.prosody / "certs" / f"{onion}.crt"
    try:
        chain, key = path.read_bytes(), path.with_suffix(".key").read_bytes()
    except OSError as error:
        why = error.strerror or ""
    else:
        why = find_fault(chain, key, onion, now=now)
    if not why:
        return "it is for the onion's name, holds, and its key is there"
    return ServerError(
        "the certificate of the server does not do",
        why=why,
        fix=f"Stop the server, remove {path} and its .key, and start it: it makes a "
        "new one. Clients that remember the old one ask their people.",
    )


def _check_space(free: int) -> _Finding:
    if free >= _SPACE_BYTES:
        return f"{free / 1024**3:.1f} GiB are free"
    return ServerError(
        "the disk is nearly full",
        why=f"{free // 1024**2} MiB are free, and a server that cannot write loses "
        "what people send",
        fix="Make room. Uploads lie in prosody/data, for three days each.",
    )


async def _check_prosody(options: Options, running: Running | None) -> _Finding:
    """Judge the Prosody that runs, or would, by what Debian mended in its own."""
    if options.engine is not Engine.PROSODY:
        return f"not for {options.engine}: nothing is known here about its versions"
    fixes = await asyncio.to_thread(read_fixes)
    return judge_prosody(running.version if running else fixes[0], fixes)


async def _check_tls(options: Options, running: Running | None) -> _Finding:
    if options.engine is not Engine.PROSODY:
        return f"not for {options.engine}: it brings TLS of its own"
    fixes = await asyncio.to_thread(read_tls_fixes)
    version = (
        "" if shutil.which("openssl") is None else await _run("openssl", "version")
    )
    is_replaced = running is not None and running.uses_replaced("libssl")
    return judge_tls(version, fixes, is_replaced=is_replaced)


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode("utf-8", "replace")


def _check_door(place: Folder, options: Options) -> _Finding:
    if options.door is Door.PUBLIC:
        return "public: everybody may come, and a flood is asked for work"
    try:
        count = len(ClientKeys(place.path).guests())
    except XmppOnionError as error:
        return error
    beside = ", beside the public one" if options.door is Door.BOTH else ""
    return f"private, for {count} key(s){beside}"


def _check_federation(options: Options, running: Running | None) -> _Finding:
    if options.partners is Federation.LISTED and not options.peers:
        return ServerError(
            "the server talks to listed servers, and none is listed",
            fix="xmpp-onion server init DIR --peer ONION, or --federation off",
        )
    if running and (running.federation, running.stamp_bits) != (
        options.partners, str(options.stamp_bits)
    ):  # fmt: skip
        return ServerError(
            "what was chosen about other servers does not count yet",
            why=f"the server that runs has federation {running.federation} and stamps "
            f"of {running.stamp_bits} bits",
            fix="Start it again: xmpp-onion server down DIR, and up",
        )
    match options.partners:
        case Federation.OFF:
            if options.federation is not Federation.OFF:
                return "off, as long as its door is private: others cannot find it"
            return "off: it talks to no other server"
        case Federation.LISTED:
            return f"with {len(options.peers)} listed onion(s)"
        case Federation.OPEN:
            return "with all onions; a first word of a stranger costs " + (
                f"a stamp of {options.stamp_bits} bits"
                if options.stamp_bits
                else "nothing"
            )
