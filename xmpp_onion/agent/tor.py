"""Which Tor a program of ours uses."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from xmpp_onion.errors import TorError, TorNotRunningError
from xmpp_onion.transport import Endpoint, Tor, find_launched

__all__ = ["find_checking_tor", "find_server_tor", "find_tor"]


@asynccontextmanager
async def find_tor(
    folder: Path, *, socks: str | None = None, control: str | None = None
) -> AsyncIterator[Tor]:
    """Yield the Tor at ``socks``; by default a running one, else our own child.

    Never anything but Tor.

    Args:
        folder: Where a Tor of our own keeps its state.
        socks: ``HOST:PORT``; if given, no other is tried.
        control: ``HOST:PORT`` of its control port.

    Raises:
        TorNotRunningError: Nothing answers at ``socks`` or ``control``.
        TorNotFoundError: None runs, and there is no program to start.
        AddressError: ``socks`` or ``control`` is not an IP address and port.
    """
    async with AsyncExitStack() as stack:
        try:
            tor = await stack.enter_async_context(Tor.attach(socks, control))
        except TorNotRunningError:
            if socks is not None or control is not None:
                raise
            tor = await stack.enter_async_context(Tor.launch(folder))
        yield tor


@asynccontextmanager
async def find_server_tor(
    folder: Path,
    *,
    socks: str | None = None,
    control: str | None = None,
    extra: Sequence[str] = (),
) -> AsyncIterator[Tor]:
    """Yield the Tor that publishes a server: our own child, unless one is named.

    A child of ours tells circuits apart and closes them, whoever else runs a Tor;
    docs/adr/0028 has the reasons. Where no program is installed, one that runs is used.

    Args:
        folder: Where a Tor of our own keeps its state.
        socks: ``HOST:PORT``; if given, no other is tried.
        control: ``HOST:PORT`` of its control port.
        extra: Lines to add to the torrc of our own.

    Raises:
        TorNotRunningError: Nothing answers at ``socks`` or ``control``.
        TorNotFoundError: None runs, and there is no program to start.
        AddressError: ``socks`` or ``control`` is not an IP address and port.
    """
    if socks is None and control is None and shutil.which("tor") is not None:
        async with Tor.launch(folder, extra=extra) as tor:
            yield tor
        return
    async with find_tor(folder, socks=socks, control=control) as tor:
        yield tor


@asynccontextmanager
async def find_checking_tor(
    folder: Path,
    known: Endpoint,
    *,
    spare: Path,
    socks: str | None = None,
    control: str | None = None,
) -> AsyncIterator[Tor]:
    """Yield the Tor by which a server is looked at: its own, if that runs.

    Args:
        folder: Where the server's own Tor keeps its state.
        known: Where that takes connections.
        spare: Where another one keeps its state that is started for this.
        socks: ``HOST:PORT``; if given, no other is tried.
        control: ``HOST:PORT`` of its control port.

    Raises:
        TorError: As `find_tor`.
    """
    found: Tor | None = None
    async with AsyncExitStack() as stack:
        own = None if socks or control else find_launched(folder)
        if own is not None:
            with contextlib.suppress(TorError):  # it ended just now
                found = await stack.enter_async_context(Tor.attach(known, own))
        if found is None:
            found = await stack.enter_async_context(
                find_tor(spare, socks=socks, control=control)
            )
        yield found
