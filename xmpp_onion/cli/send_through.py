"""``send --agent``: have a text sent by the agent of another user, with a token."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xmpp_onion import private
from xmpp_onion.agent.caller import ask_at
from xmpp_onion.cli.reach import print_lines
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import SessionError, StorePermissionError

if TYPE_CHECKING:
    from xmpp_onion.chat import Line

__all__ = ["send_through"]

# A token has 54 letters; what is longer is another file.
_TOKEN_LIMIT_BYTES = 1024


def send_through(
    settings: Settings,
    agent: Path,
    *,
    token_file: Path | None,
    request: "Line",
    tell: Callable[["Line"], str],
) -> int:
    """Have ``request`` done by the agent at a socket, and return the exit code.

    Raises:
        UsageError: There is no token.
        StorePermissionError: Others can read the token, or put a socket of theirs in
            the place of the agent's: it would be told the text.
        SessionError: Nobody answers there.
    """
    if token_file is None:
        raise click.UsageError("--agent needs a --token-file")
    try:
        token = private.read_bytes(token_file, _TOKEN_LIMIT_BYTES).decode().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        raise click.UsageError(f"there is no token in {str(token_file)!a}") from None
    _check(agent)
    lines = asyncio.run(_ask(agent, {**request, "token": token}))
    return print_lines(settings, lines, tell)


async def _ask(agent: Path, request: "Line") -> "list[Line]":
    try:
        return [line async for line in ask_at(agent, request)]
    except OSError as error:
        raise SessionError(
            f"nobody answers at {agent}",
            why=error.strerror or type(error).__name__,
            fix="Start it there: xmpp-onion agent start --share PATH --group GROUP",
        ) from None


def _check(agent: Path) -> None:
    with private.os_errors(agent, verb="read"):
        folder, status = agent.parent.stat(), agent.lstat()
    why = ""
    if not stat.S_ISSOCK(status.st_mode):
        why = "it is no socket"
    elif folder.st_mode & 0o022:
        why = "others can put one of theirs in its place"
    elif status.st_uid not in {folder.st_uid, 0}:
        why = "it belongs to another user than its folder"
    if why:
        raise StorePermissionError(
            f"the socket {agent} is refused",
            why=why,
            fix=f"See whose it is: ls -ld {agent.parent} {agent}",
        )
