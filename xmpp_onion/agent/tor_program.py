"""Which versions of Tor nobody should run, and why."""

import asyncio
import re
import shutil

from xmpp_onion.errors import TorError

__all__ = ["check_tor_program", "judge_tor"]

# The first that asks a flood for work (proposal 327); and the first without what a
# guest, a relay or a directory can do to a service that does: end it (TROVE-2026-020,
# TROVE-2026-026), or stand between it and its guests (bug 41297 of Tor).
_TOR_NEEDED = (0, 4, 8)
_TOR_MENDED = (0, 4, 9, 11)


async def check_tor_program() -> str | TorError:
    """Judge the program that is installed; to have none is no fault."""
    if shutil.which("tor") is None:
        return "not installed: a Tor that runs elsewhere is used"
    return judge_tor(await _run("--version"), await _run("--list-modules"))


async def _run(option: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("tor", option),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode("utf-8", "replace")


def judge_tor(version: str, modules: str) -> str | TorError:
    """Tell whether a Tor can defend an onion service.

    Args:
        version: What ``tor --version`` says.
        modules: What ``tor --list-modules`` says.
    """
    found = re.search(r"\b[0-9]+\.[0-9.]*[0-9]", version)
    number = _read_number(found[0] if found else "")
    shown = found[0] if found else "of an unknown version"
    has_work = re.search(r"^pow: yes$", modules, re.MULTILINE) is not None
    if number >= _TOR_MENDED and has_work:
        return f"Tor {shown} asks a flood for proof of work; no hole is known in it"
    if number >= _TOR_NEEDED and has_work:
        return TorError(
            f"Tor {shown} has known holes",
            why="TROVE-2026-020, TROVE-2026-026 and its bug 41297, with which a relay "
            "could pose as an onion service, are mended in 0.4.9.11",
            fix="apt-get update && apt-get install tor, then start again what uses it",
        )
    return TorError(
        f"Tor {shown} cannot ask a flood for proof of work",
        why="it is too old" if has_work else "it was built without the module pow",
        fix="Install Tor 0.4.8 or newer, from Debian or deb.torproject.org",
    )


def _read_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:4])
