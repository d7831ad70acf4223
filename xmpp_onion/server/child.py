"""How a server's program is started: less than we are, and dead when we are."""

import os
import resource
import shutil

from xmpp_onion.server.folder import RunAs

__all__ = ["as_child", "environment"]

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


def environment() -> dict[str, str]:
    """Return what a program may know: nothing of ours but where programs are."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
