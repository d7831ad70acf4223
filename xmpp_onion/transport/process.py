"""A tor of our own: a child process that lives exactly as long as we do.

Three things tie it to us: we end it on the way out; it is told that our control
connection owns it, so that it leaves within milliseconds when we are killed
(``TAKEOWNERSHIP``); and it looks every 15 s whether our process still exists
(``__OwningControllerProcess``).
"""

import asyncio
import asyncio.subprocess
import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from xmpp_onion import locks, private
from xmpp_onion.errors import (
    ControlPortError,
    TorNotFoundError,
    TorNotRunningError,
)
from xmpp_onion.transport.control import Control, open_control
from xmpp_onion.transport.dial import Endpoint
from xmpp_onion.transport.link import Link, tail

__all__ = ["find_launched", "launched"]

log = logging.getLogger(__name__)

# Seconds. tor opens its control port in well under one; a slow disk takes longer.
_START_TIMEOUT: Final = 30.0
_START_PAUSE: Final = 0.02
# A client has nothing to hand over and leaves at once.
_STOP_TIMEOUT: Final = 5.0


@contextlib.asynccontextmanager
async def launched(
    data_dir: Path, *, program: str, extra: Sequence[str], pool: Executor
) -> AsyncIterator[Link]:
    """Run a tor in ``data_dir``; it has gone when the block ends.

    Raises:
        TorNotFoundError: ``program`` is not installed.
        TorNotRunningError: It ended at the start; ``why`` has its last words.
        StorePermissionError: Others can get at ``data_dir``.
    """
    executable = shutil.which(program)
    if executable is None:
        raise _not_found(program)
    log_file = data_dir / "tor.log"
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_reserved(data_dir))
        torrc = data_dir / "torrc"
        private.replace(torrc, ("\n".join(_torrc(data_dir, extra)) + "\n").encode())
        with private.open_anew(log_file) as output:
            process = await asyncio.create_subprocess_exec(
                *(executable, "-f", str(torrc), "--defaults-torrc", "/dev/null"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: we end it in order
            )
        stack.push_async_callback(_stop, process)
        async with _explaining(process, log_file):
            place = await _control_port(process, data_dir / "control-port")
            control = await stack.enter_async_context(open_control(place, pool=pool))
            await control.ask("TAKEOWNERSHIP")
            socks = await _first_listener(control)
        log.info("started tor, process %d", process.pid)
        yield Link(socks, control, process=process, log_file=log_file)


def _torrc(data_dir: Path, extra: Sequence[str]) -> list[str]:
    return [
        f"DataDirectory {_quoted(data_dir)}",
        "SocksPort 127.0.0.1:auto ExtendedErrors IsolateSOCKSAuth OnionTrafficOnly",
        "SafeSocks 1",
        # A port, not a Unix socket: a data directory may be too deep for one.
        "ControlPort 127.0.0.1:auto",
        f"ControlPortWriteToFile {_quoted(data_dir / 'control-port')}",
        "CookieAuthentication 1",
        f"__OwningControllerProcess {os.getpid()}",
        "Log notice stdout",
        *extra,
    ]


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


@contextlib.asynccontextmanager
async def _reserved(data_dir: Path) -> AsyncIterator[None]:
    """Hold the folder for one tor, private and without an earlier one's traces.

    tor has a lock of its own, and waits 5 s for it with its ports open already.
    """
    private.make_folder(data_dir)
    lock_file = data_dir / "in-use"
    with locks.open_lock(lock_file) as descriptor:
        if not await locks.take(lock_file, descriptor):
            raise TorNotRunningError(
                f"tor cannot start in {data_dir}",
                why="another tor of ours runs there",
                fix="End the other program, or choose another folder.",
            )
        with private.os_errors(data_dir):
            for name in ("control-port", "control_auth_cookie"):
                (data_dir / name).unlink(missing_ok=True)
        yield


@contextlib.asynccontextmanager
async def _explaining(
    process: asyncio.subprocess.Process, log_file: Path
) -> AsyncIterator[None]:
    """Turn what goes wrong at the start into an error with tor's own words."""
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            yield
    except (TorNotRunningError, TimeoutError) as error:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _START_PAUSE)
        what = (
            "tor did not start in time"
            if process.returncode is None
            else f"tor ended at its start (exit status {process.returncode})"
        )
        raise TorNotRunningError(
            what, why=tail(log_file), fix=f"Read {log_file}."
        ) from error


async def _control_port(process: asyncio.subprocess.Process, written: Path) -> Endpoint:
    """Wait until tor has written where its control port is."""
    while process.returncode is None:
        if (place := _read_place(written)) is not None:
            return place
        await asyncio.sleep(_START_PAUSE)
    raise TorNotRunningError("tor ended", fix="Start again.")


def find_launched(data_dir: Path) -> Endpoint | None:
    """Return the control port of the tor that another process launched in a folder.

    None if there is none.
    """
    if not locks.is_held(data_dir / "in-use"):
        return None
    return _read_place(data_dir / "control-port")


def _read_place(written: Path) -> Endpoint | None:
    try:
        lines = written.read_text().splitlines()
    except FileNotFoundError:
        return None
    # UNIX_PORT= lines may stand beside it, from the extra lines of the torrc.
    ports = [line.removeprefix("PORT=") for line in lines if line.startswith("PORT=")]
    return Endpoint.parse(ports[0]) if ports else None


async def _first_listener(control: Control) -> Endpoint:
    for listener in (await control.get_info("net/listeners/socks")).split():
        if not listener.startswith('"unix:'):
            return Endpoint.parse(listener.strip('"'))
    raise ControlPortError(
        "tor has no SOCKS port", fix="Remove `SocksPort 0` from the extra lines."
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    try:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(_STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        log.warning("tor does not end, and is killed")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _not_found(program: str) -> TorNotFoundError:
    return TorNotFoundError(
        "Tor is not installed",
        why=f"there is no program {program}",
        fix="Install it: `sudo apt-get install tor` (Debian, Ubuntu), `sudo dnf "
        "install tor` (Fedora), `brew install tor` (macOS).",
    )
