"""What can be asked about files; how far they are is told meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from xmpp_onion.account import parse_addressee
from xmpp_onion.chat import FILE_LIMIT, DeliveryState, Line, Progress, line
from xmpp_onion.client import Client
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.outgoing import ACK_TIMEOUT

__all__ = ["FIELDS", "REQUESTS", "Told", "expires"]

Told: TypeAlias = Callable[[Line], None]
"""Gets lines ``progress`` meanwhile."""


def expires(request: Line) -> timedelta | None:
    """Return how long what is sent may be kept, if the request says so."""
    seconds = request.get("expires")
    return timedelta(seconds=seconds) if isinstance(seconds, int) else None


async def _send_file(client: Client, request: Line, tell: Told) -> list[Line]:
    """Store a file once for each recipient, and send each the link; one line each."""
    to, path = request["to"], Path(str(request["path"]))
    wait, timeout = request.get("wait"), request.get("timeout")
    is_voice = request.get("voice") is True
    seconds = float(timeout) if isinstance(timeout, int | float) else ACK_TIMEOUT
    texts = to if isinstance(to, list) else []
    recipients = [parse_addressee(str(each)) for each in texts]  # before the first one
    steps = _steps(tell, path.name)

    async def one(recipient: str) -> Line:
        try:
            delivery = await client.send_file(
                recipient,
                path,
                steps,
                is_voice=is_voice,
                expires=expires(request),
                pad=request.get("pad") is True,
                timeout=seconds,
            )
            if wait == "receipt":
                received = DeliveryState.RECEIVED
                delivery = await client.wait(delivery.id, received, timeout=seconds)
            return line(delivery)
        except XmppOnionError as error:
            return {**error.as_line(), "to": recipient}

    # One after the other: they share the way to one server.
    return [await one(recipient) for recipient in recipients]


async def _download(client: Client, request: Line, tell: Told) -> list[Line]:
    name = str(request.get("name") or "")
    limit = request.get("limit")
    path = await client.download(
        str(request["url"]),
        Path(str(request["folder"])),
        _steps(tell, name),
        name=name,
        limit_bytes=limit if isinstance(limit, int) else FILE_LIMIT,
    )
    size = (await asyncio.to_thread(path.stat)).st_size
    return [{"v": 1, "event": "downloaded", "path": str(path), "size": size}]


def _steps(tell: Told, name: str) -> Progress:
    """Tell how far it is, a hundred times at most (and again where it went back)."""
    percent = -1

    def told(done: int, total: int) -> None:
        nonlocal percent
        now = 100 * done // total if total else 100
        if now != percent:
            percent = now
            tell(
                {
                    "v": 1,
                    "event": "progress",
                    "name": name,
                    "done": done,
                    "total": total,
                }
            )

    return told


REQUESTS: Mapping[str, Callable[[Client, Line, Told], Awaitable[list[Line]]]] = {
    "send-file": _send_file,
    "download": _download,
}
"""What does a request, by the name in its ``do``."""
FIELDS: Mapping[object, frozenset[str]] = {
    _send_file: frozenset({"to", "path"}),
    _download: frozenset({"url", "folder"}),
}
"""What a request cannot do without, by what does it."""
