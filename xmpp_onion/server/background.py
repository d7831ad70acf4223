"""A server in the background: a process that starts it again whenever it dies.

Where systemd runs it, systemd does this.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from xmpp_onion import private
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.errors import ServerError, XmppOnionError
from xmpp_onion.server.child import as_child, end
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.lock import check_idle, kept
from xmpp_onion.server.log import LOG_LIMIT_BYTES
from xmpp_onion.server.restarts import note_restart
from xmpp_onion.session.connection import backoff

__all__ = ["detach", "supervise"]

log = logging.getLogger(__name__)

# Seconds before what died is started again, the first time and at most.
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
# What ran this many seconds was well: its death is another story.
_WELL_SECONDS = 60.0
# Seconds for a server to end in order; its own steps have shorter limits.
_STOP_SECONDS = 30.0

Tell = Callable[[bytes], None]


def detach(folder: Path, command: Sequence[str]) -> dict[str, object]:
    """Run a server in the background, and return the first thing that it tells.

    It belongs to no terminal any more, and what it prints goes into the folder.
    Forks: to be called while there are no threads and no event loop.

    Args:
        folder: The server's folder; it has to exist.
        command: What runs the server in the foreground, and prints lines of JSON.

    Returns:
        Its line ``server`` once it is up, or the line ``error`` that says why not.

    Raises:
        ServerError: It runs already, or ended without a word.
    """
    place = Folder(folder, None)
    check_idle(place)  # whoever keeps it has his output in the folder
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _be_supervisor(place, command, write_end)
    os.close(write_end)
    try:
        with os.fdopen(read_end, "rb") as pipe:
            line = pipe.readline()
    except BaseException:  # Ctrl-C means the server, too
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        raise
    if not line:
        raise ServerError(
            "the server did not start",
            why="it ended without a word",
            fix=f"Read {place.background_file}.",
        )
    told: dict[str, object] = json.loads(line)
    return told


def _be_supervisor(place: Folder, command: Sequence[str], pipe: int) -> None:
    """Go on as another process, which ends here."""
    code = 1
    try:
        os.setsid()
        _redirect(place.background_file)

        def tell(line: bytes) -> None:
            nonlocal pipe
            if pipe >= 0:  # once
                os.write(pipe, line)
                os.close(pipe)
                pipe = -1

        try:
            asyncio.run(supervise(place, command, tell=tell))
            code = 0
        except XmppOnionError as error:
            tell(json.dumps({"v": 1, **error.as_line()}).encode() + b"\n")
    except BaseException:  # noqa: BLE001 - the last place of this process
        traceback.print_exc()
    finally:
        os._exit(code)


def _redirect(file: Path) -> None:
    with private.open_anew(file) as output:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


async def supervise(
    place: Folder,
    command: Sequence[str],
    *,
    tell: Tell,
    first_delay: float = _FIRST_DELAY,
) -> None:
    """Start a command again whenever it dies, until it ends well or we are told to.

    Args:
        place: The server's folder.
        command: What runs the server, and prints lines of JSON.
        tell: Called with each of its lines ``server`` and ``error``.
        first_delay: Seconds before the second start; they double, up to a minute.

    Raises:
        ServerError: Another process keeps this server running.
    """
    loop, was_up = asyncio.get_running_loop(), False
    delays = backoff(first_delay, _LONGEST_DELAY, lambda: 1.0)
    async with until_terminated(), kept(place) as held:
        while True:
            began = loop.time()
            code, is_up = await _run(command, tell, held)
            was_up = was_up or is_up
            if code == 0 or not was_up:  # what never ran would not the second time
                return
            if loop.time() > began + _WELL_SECONDS:
                delays = backoff(first_delay, _LONGEST_DELAY, lambda: 1.0)
            note_restart(place.path, "server")
            delay = next(delays)
            with contextlib.suppress(XmppOnionError):
                private.shorten(place.background_file, LOG_LIMIT_BYTES)
            log.warning("the server died with code %d; again in %.0f s", code, delay)
            await asyncio.sleep(delay)


async def _run(command: Sequence[str], tell: Tell, held: int) -> tuple[int, bool]:
    """Run a command to its end; return its exit code, and whether it was up.

    If we are killed it is told to end, and holds the folder until it has.
    """
    prefix, _ = as_child(None)
    process = await asyncio.create_subprocess_exec(
        *(*prefix, *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[held],
    )
    is_up = False
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _pass_on, process)
        assert process.stdout is not None  # noqa: S101 - for the type checker
        async for line in process.stdout:
            event = json.loads(line).get("event")
            is_up = is_up or event == "server"
            if event == "error":
                log.warning("%s", line.decode().rstrip())
            if event in {"server", "error"}:
                tell(line)
        return await process.wait(), is_up
    finally:
        await end(process, "the server", _STOP_SECONDS)


def _pass_on(process: asyncio.subprocess.Process) -> None:
    """Let the server hear that it is to start again as what it is to be now."""
    with contextlib.suppress(ProcessLookupError):  # it ended: that comes anyway
        process.send_signal(signal.SIGHUP)
