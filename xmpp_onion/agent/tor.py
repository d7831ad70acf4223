"""Which Tor a program of ours uses."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from xmpp_onion.errors import TorNotRunningError
from xmpp_onion.transport import Tor

__all__ = ["find_tor"]


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
