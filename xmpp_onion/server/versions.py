"""Which versions of Prosody and Tor a server should not run, and why."""

import gzip
import re
from pathlib import Path

from xmpp_onion.errors import ServerError

__all__ = ["judge_prosody", "judge_tor", "read_fixes"]

# What a stranger could do to the memory and the limits of a Prosody: mended upstream
# in 0.12.6 and 13.0.5, and by Debian without a new version of Prosody.
_HOLES = frozenset(f"CVE-2026-4350{number}" for number in (4, 5, 6, 7))
_MENDED: dict[tuple[int, ...], tuple[int, ...]] = {
    (0, 12): (0, 12, 6),
    (13, 0): (13, 0, 5),
}
# The first that asks a flood for work (proposal 327).
_TOR_NEEDED = (0, 4, 8)
_CHANGES = Path("/usr/share/doc/prosody/changelog.Debian.gz")
# A list of changes is 20 kB; what is larger is not one.
_CHANGES_LIMIT_BYTES = 1024 * 1024


def read_fixes(changes: Path = _CHANGES) -> tuple[str, frozenset[str]]:
    """Return the version of Prosody that Debian installed, and the holes it mended.

    Empty where Debian's list of changes is not, as in a container without documents.
    """
    try:
        with gzip.open(changes, "rt", encoding="utf-8", errors="replace") as file:
            text = file.read(_CHANGES_LIMIT_BYTES)
    except (OSError, EOFError):
        return "", frozenset()
    found = re.match(r"prosody \(([0-9][0-9.]*)", text)
    mended = frozenset(re.findall(r"CVE-[0-9]{4}-[0-9]+", text))
    return (found[1] if found else ""), mended


def judge_prosody(version: str, fixes: tuple[str, frozenset[str]]) -> str | ServerError:
    """Tell whether a Prosody has a known hole.

    Args:
        version: What runs, such as ``0.12.3``.
        fixes: What Debian did to a version of the same number; see `read_fixes`.
    """
    number = _read_number(version)
    if not number:
        return "not seen: it does not run, and Debian did not install it"
    mended = _MENDED.get(number[:2])
    if number[:2] > max(_MENDED) or (mended and number >= mended):
        return f"Prosody {version}: no hole is known in it"
    if mended and fixes[0] == version and fixes[1] >= _HOLES:
        return f"Prosody {version}, with Debian's fixes: no hole is known in it"
    return ServerError(
        f"Prosody {version} has known holes",
        why=f"{', '.join(sorted(_HOLES))} are mended in 0.12.6, in 13.0.5 and in "
        "Debian's 0.12.3-1+deb12u1",
        fix="apt-get update && apt-get install prosody, then start the server again",
    )


def judge_tor(version: str, modules: str) -> str | ServerError:
    """Tell whether a Tor can defend an onion service.

    Args:
        version: What ``tor --version`` says.
        modules: What ``tor --list-modules`` says.
    """
    found = re.search(r"\b[0-9]+\.[0-9.]*[0-9]", version)
    number = _read_number(found[0] if found else "")
    shown = found[0] if found else "of an unknown version"
    has_work = re.search(r"^pow: yes$", modules, re.MULTILINE) is not None
    if number >= _TOR_NEEDED and has_work:
        return f"Tor {shown} asks a flood for proof of work"
    return ServerError(
        f"Tor {shown} cannot ask a flood for proof of work",
        why="it is too old" if has_work else "it was built without the module pow",
        fix="Install Tor 0.4.8 or newer, from Debian or deb.torproject.org",
    )


def _read_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])
