"""The programs that a server needs, looked for before anything is started."""

import shutil
from collections.abc import Collection

from xmpp_onion.errors import (
    ProsodyNotFoundError,
    ServerError,
    TorNotFoundError,
    XmppOnionError,
)
from xmpp_onion.server.options import Engine

__all__ = ["check_programs"]

# Of ejabberd there is none in an ordinary user's PATH; Erlang comes with it.
_PROGRAMS = {Engine.PROSODY: "prosody", Engine.EJABBERD: "erl"}
# How each manager is told to install, and what it has to install beside.
_MANAGERS = {
    "apt-get": ("apt-get install", {"prosody": "lua-dbi-sqlite3 lua-unbound"}),
    "dnf": ("dnf install", {"prosody": "lua-unbound"}),
    "brew": ("brew install", {"prosody": ""}),
}
_TAPS = {"prosody": "prosody/prosody/prosody"}  # it is in no tap of Homebrew's own


def check_programs(engine: Engine, *, needs_tor: bool) -> None:
    """Refuse to begin without a program that is needed later.

    Args:
        engine: What speaks XMPP.
        needs_tor: Whether no running Tor can be used.

    Raises:
        ProsodyNotFoundError: Prosody is not installed, and perhaps Tor is not either.
        TorNotFoundError: Tor is not installed.
        ServerError: ejabberd is not installed.
    """
    program = _PROGRAMS[engine]
    missing, packages = [], []
    if shutil.which(program) is None:
        missing.append(program)
        packages.append(str(engine))
    if needs_tor and shutil.which("tor") is None:
        missing.append("tor")
        packages.append("tor")
    if not missing:
        return
    kind: type[XmppOnionError] = ServerError
    if packages == ["tor"]:
        kind = TorNotFoundError
    elif engine is Engine.PROSODY:
        kind = ProsodyNotFoundError
    raise kind(
        f"there is no program {' and none '.join(missing)} on this machine",
        why="the server needs it, and nothing was started",
        fix=f"Install it: {_say_how(packages)}",
    )


def _say_how(packages: Collection[str]) -> str:
    """Return the line for the package manager of this machine; all, if it has none."""
    found = [name for name in _MANAGERS if shutil.which(name)][:1] or list(_MANAGERS)
    lines = []
    for name in found:
        install, beside = _MANAGERS[name]
        words = [
            _TAPS.get(package, package) if name == "brew" else package
            for package in packages
        ]
        words += [more for package in packages if (more := beside.get(package))]
        lines.append(" ".join((install, *words)))
    return "; or ".join(lines)
