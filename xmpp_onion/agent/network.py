"""How the Tor is that a program of ours uses, as findings."""

from datetime import datetime, timedelta

from xmpp_onion.errors import BootstrapError, TorError, XmppOnionError
from xmpp_onion.transport import Tor

__all__ = ["check_clock", "check_network"]

# A picture of the network is fetched at any time while it holds, and used for a day
# more; clocks may differ by an hour, as Tor itself allows.
_SKEW, _OLD = timedelta(hours=1), timedelta(days=1)
# Seconds without progress after which Tor counts as stuck; a first start on a slow
# line makes some progress within this.
_PATIENCE = 45.0


async def check_network(tor: Tor) -> str | XmppOnionError:
    """Tell whether a Tor has its network."""
    try:
        async for _ in tor.bootstrap(patience=_PATIENCE):
            pass
    except BootstrapError as error:
        return error
    control = "with" if tor.has_control else "without"
    return f"listens at {tor.socks}, {control} a control port, and has its network"


async def check_clock(tor: Tor, now: datetime) -> str | XmppOnionError:
    """Compare our clock with what the directory authorities of Tor signed."""
    try:
        bounds = await tor.clock_bounds()
    except XmppOnionError as error:
        return error
    if bounds is None:
        return "not checked: this Tor has no control port that we know"
    since, until = bounds
    if since - _SKEW <= now <= until + _OLD:
        return "it agrees with Tor's picture of the network"
    late = now < since
    return TorError(
        f"the clock of this machine is {'slow' if late else 'fast'}",
        why=f"Tor's picture of the network holds from {since:%Y-%m-%d %H:%M} to "
        f"{until:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}",
        fix="Set the clock; or, if it is right, let Tor fetch a new one: restart it.",
    )
