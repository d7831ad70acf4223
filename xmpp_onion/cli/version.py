"""``xmpp-onion version``: what runs here, for a report of a fault.

Nothing is imported for it but what says which version is installed.
"""

import platform
import re
import shutil
import subprocess
from importlib import metadata

import click

from xmpp_onion.cli.settings import Settings
from xmpp_onion.version import __version__

__all__ = ["command"]

# What a fault may be of, and whose version is asked for first.
_LIBRARIES = ("slixmpp", "omemo", "twomemo", "oldmemo", "stem", "sqlcipher3")
# Programs of the system are not in the PATH of every user.
_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"
# Seconds for a program to say its version; Tor takes a hundredth.
_PATIENCE = 5.0


@click.command("version")
@click.pass_obj
def command(settings: Settings) -> None:
    """Say which versions run here: ours, Python, the libraries, Tor.

    Of Prosody only where it is: it says its version no faster than it starts.
    """
    tor, prosody = _find("tor"), _find("prosody")
    line: dict[str, object] = {
        "v": 1,
        "event": "version",
        "version": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": {name: _installed(name) for name in _LIBRARIES},
        "tor": None if tor is None else {"path": tor, "version": _version_of_tor(tor)},
        "prosody": None if prosody is None else {"path": prosody},
    }
    settings.output.result(line, _told(line))


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SYSTEM)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _version_of_tor(path: str) -> str | None:
    """Return what Tor says its version is; None where it says nothing."""
    try:
        said = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"Tor version (\d+(?:\.\d+)+(?:-\w+)?)", said)
    return found[1] if found else None


def _told(line: dict[str, object]) -> str:
    told = [f"xmpp-onion {line['version']}", f"Python {line['python']}"]
    told.append(str(line["system"]))
    match line["libraries"]:
        case dict(libraries):
            told += [
                f"{name} {found}" if found else f"{name} is not installed"
                for name, found in libraries.items()
            ]
    for name in ("tor", "prosody"):
        match line[name]:
            case {"path": path, **more}:
                told.append(
                    f"{name} {more.get('version') or ''}".strip() + f" ({path})"
                )
            case _:
                told.append(f"{name} is not installed")
    return "\n".join(told)
