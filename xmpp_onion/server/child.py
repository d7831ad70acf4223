"""How a server's program is started, less than we are, and how it is ended."""

import asyncio
import logging
import os
import resource
import shutil
from pathlib import Path

from xmpp_onion import private
from xmpp_onion.server.folder import RunAs

__all__ = ["as_child", "end", "environment", "start"]

log = logging.getLogger(__name__)

# A connection is a descriptor, an account file opened at log-in another one; with
# the usual 1024 log-ins fail as "not-authorized" near a thousand sessions.
_OPEN_FILES = 65536


def as_child(run_as: RunAs | None) -> tuple[list[str], RunAs | None]:
    """Return what stands before a command: limits, our death, its user.

    ``setpriv`` changes the user and then asks for a signal at our death, in that
    order, because a change of user forgets the signal (prctl(2),
    PR_SET_PDEATHSIG). Without util-linux the user, returned, is left to Python.
    """
    if shutil.which("setpriv") is None or shutil.which("prlimit") is None:
        return [], run_as
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    prefix = ["prlimit", f"--nofile={files}:{files}"]
    prefix += ["setpriv", "--pdeathsig=TERM", "--no-new-privs"]
    if run_as is not None:
        prefix += [f"--reuid={run_as.uid}", f"--regid={run_as.gid}", "--clear-groups"]
    return prefix, None


async def start(
    command: list[str],
    *,
    run_as: RunAs | None,
    cwd: Path,
    output: Path,
    lock: int,
    umask: int = -1,
) -> asyncio.subprocess.Process:
    """Start a program that dies with us.

    Args:
        command: The program and its arguments.
        run_as: Its user; None if it is ours.
        cwd: Where it is started.
        output: What it prints goes there, in place of what the one before printed.
        lock: The descriptor of the folder's lock: a child that outlives us keeps it.
        umask: Its umask; ours by default.
    """
    prefix, other = as_child(run_as)
    with private.open_anew(output) as target:
        return await asyncio.create_subprocess_exec(
            *(*prefix, *command),
            cwd=cwd,
            env=environment(),
            umask=umask,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C is for us; we stop it in order
            user=None if other is None else other.uid,
            group=None if other is None else other.gid,
            extra_groups=None if other is None else [],
        )


async def end(process: asyncio.subprocess.Process, name: str, seconds: float) -> None:
    """Tell a program to end, and kill it if it does not, or if we are cancelled.

    Args:
        process: The program; one that has ended is no error.
        name: What to call it in the log.
        seconds: How long it may take.
    """
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        log.warning("%s did not end in time, process %d", name, process.pid)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def environment() -> dict[str, str]:
    """Return what a program may know: nothing of ours but where programs are."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
