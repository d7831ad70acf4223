"""Stop a server that another process runs."""

import asyncio
from pathlib import Path

from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask
from xmpp_onion.server.folder import Folder, find_unprivileged_user

__all__ = ["stop"]

_POLL_SECONDS = 0.1


async def stop(folder: Path, *, timeout: float = 15.0) -> None:
    """Tell the server in ``folder`` to end, and wait until it has.

    The process that runs it takes the onion service down and ends as well.

    Args:
        folder: The server's folder.
        timeout: Seconds until this gives up.

    Raises:
        ServerError: No server runs there, or it does not end.
    """
    data = Folder(folder, find_unprivileged_user()).data
    # In a moment: the console has to answer first.
    await ask(
        data,
        'require "util.timer".add_task(0.1, function () '
        'prosody.shutdown("stopped by the operator") end) return "stopping"',
    )
    for _ in range(int(timeout / _POLL_SECONDS)):
        if not await _answers(data):
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise ServerError(
        "the server does not end",
        why=f"it still answered after {timeout:.0f} seconds",
        fix="End the process that runs it.",
    )


async def _answers(data: Path) -> bool:
    try:
        await ask(data, 'return "here"', timeout=2.0)
    except ServerError:
        return False
    return True
