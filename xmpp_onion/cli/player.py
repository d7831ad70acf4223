"""Playing a voice note with a program of the system, which fetches nothing itself."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from xmpp_onion.errors import UsageError
from xmpp_onion.files import read_sound

__all__ = ["play"]

# Programs that decode a file and do no more. mpv, ffplay and sox are not among them:
# they follow the links in what claims to be a sound, and not through Tor.
_PLAYERS: Final = {
    "audio/ogg": (("pw-play",), ("paplay",)),
    "audio/wav": (("pw-play",), ("paplay",), ("aplay", "-q")),
}


async def play(fetch: Callable[[Path], Awaitable[Path]]) -> None:
    """Fetch a recording into a folder of its own, play it, and erase it.

    Args:
        fetch: Puts it into a folder.

    Raises:
        UsageError: It is no recording that we know, or no program plays it.
    """
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="xmpp-onion-"))
    try:
        path = await fetch(folder)
        command = _command(read_sound(path).media_type)
        process = await asyncio.create_subprocess_exec(
            *command,
            path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if status:
        raise UsageError(
            "the recording was not played",
            why=f"{command[0]} failed",
            fix="/save it, and play it with another program.",
        )


def _command(kind: str) -> tuple[str, ...]:
    for command in _PLAYERS.get(kind, ()):
        if shutil.which(command[0]) is not None:
            return command
    if kind not in _PLAYERS:
        raise UsageError(
            "it is not played", why="it is no WAV and no Ogg with Opus", fix="/save it."
        )
    raise UsageError(
        "no program here plays it",
        why="pw-play or paplay would; others follow links, outside of Tor",
        fix="Install pipewire-bin or pulseaudio-utils, or /save it.",
    )
