"""Which versions of Prosody and OpenSSL a server should not run, and why."""

import gzip
import re
from pathlib import Path

from xmpp_onion.errors import ServerError

__all__ = ["judge_prosody", "judge_tls", "read_fixes", "read_tls_fixes"]

# What a stranger could do to the memory and the limits of a Prosody: mended upstream
# in 0.12.6 and 13.0.5, and by Debian without a new version of Prosody.
_HOLES = frozenset(f"CVE-2026-4350{number}" for number in (4, 5, 6, 7))
_MENDED: dict[tuple[int, ...], tuple[int, ...]] = {
    (0, 12): (0, 12, 6),
    (13, 0): (13, 0, 5),
}
# What a stranger's certificate, or many of their sessions, could do to who speaks TLS
# with them; with the version of each series that has no part of it any more.
_TLS_HOLES = frozenset(
    {
        "CVE-2022-3602", "CVE-2022-3786", "CVE-2023-0286", "CVE-2023-2650",
        "CVE-2024-2511", "CVE-2024-4741",
    }
)  # fmt: skip
_TLS_MENDED: dict[tuple[int, ...], tuple[int, ...]] = {
    (3, 0): (3, 0, 14), (3, 1): (3, 1, 6), (3, 2): (3, 2, 2), (3, 3): (3, 3, 1)
}  # fmt: skip
_TLS_CHANGES = tuple(
    Path(f"/usr/share/doc/{package}/changelog.Debian.gz")
    for package in ("libssl3t64", "libssl3")
)
_CHANGES = Path("/usr/share/doc/prosody/changelog.Debian.gz")
# A list of changes is 20 kB; what is larger is not one.
_CHANGES_LIMIT_BYTES = 1024 * 1024


def read_fixes(changes: Path = _CHANGES) -> tuple[str, frozenset[str]]:
    """Return the version of a package that Debian installed, and the holes it mended.

    Empty where Debian's list of changes is not, as in a container without documents.

    Args:
        changes: The package's list; Prosody's by default.
    """
    try:
        with gzip.open(changes, "rt", encoding="utf-8", errors="replace") as file:
            text = file.read(_CHANGES_LIMIT_BYTES)
    except (OSError, EOFError):
        return "", frozenset()
    found = re.match(r"[a-z0-9]+ \(([0-9][0-9.]*)", text)
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


def read_tls_fixes() -> tuple[str, frozenset[str]]:
    """Return the same as `read_fixes` for OpenSSL, of which Debian has two packages."""
    found = (read_fixes(changes) for changes in _TLS_CHANGES)
    return next((one for one in found if one[0]), ("", frozenset()))


def judge_tls(
    version: str, fixes: tuple[str, frozenset[str]], *, is_replaced: bool
) -> str | ServerError:
    """Tell whether the OpenSSL that Prosody uses has a known hole.

    Args:
        version: What ``openssl version`` says, where Debian did not install it.
        fixes: What Debian did to it; see `read_tls_fixes`.
        is_replaced: Whether it was replaced since the server was started.
    """
    if is_replaced:
        return ServerError(
            "the server still uses an OpenSSL that was replaced",
            why="it has the old one in its memory since its start",
            fix="Start it again: xmpp-onion server down DIR, and up",
        )
    found = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", fixes[0] or version)
    if found is None:
        return "not seen: Debian did not install it, and there is no program openssl"
    number = _read_number(found[0])
    mended = _TLS_MENDED.get(number[:2])
    if number[:2] > max(_TLS_MENDED) or (mended and number >= mended):
        return f"OpenSSL {found[0]}: no hole is known in what Prosody uses of it"
    if mended and fixes[1] >= _TLS_HOLES:
        return f"OpenSSL {found[0]}, with the fixes of the distribution"
    return ServerError(
        f"OpenSSL {found[0]} has known holes",
        why=f"{', '.join(sorted(_TLS_HOLES))}; mended in 3.0.14, 3.1.6, 3.2.2, 3.3.1",
        fix="apt-get update && apt-get upgrade, then start the server again",
    )


def _read_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:4])
