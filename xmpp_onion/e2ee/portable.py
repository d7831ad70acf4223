"""Which keys go along when an account moves to another machine.

The identity key and what was decided about others do, so that nobody has to verify
anybody again. Sessions, pre-keys and the number of the device do not: two machines
with one ratchet would use keys twice. The new machine draws a number and pre-keys of
its own, and is another device of the same identity.
"""

from collections.abc import Callable
from typing import Final

from xmpp_onion.address import JID

__all__ = ["DEVICE_ID", "FORMER", "portable"]

DEVICE_ID: Final = "/own_device_id"
"""Where the library keeps the number of this device."""
FORMER: Final = "/xmpp-onion/former-devices"
"""Where it is kept which devices of the account this one came from: JSON numbers."""
_MOVED: Final = (
    "/devices/",
    "/ikp/",
    "/trust/",
    "/xmpp-onion/barred/",
    "/xmpp-onion/decided",
    "/xmpp-onion/first-list/",
    "/xmpp-onion/last-seen/",
    "/xmpp-onion/owner/",
    "/xmpp-onion/policies",
    "/xmpp-onion/policy-in-force",
    "/xmpp-onion/roster",
    "/xmpp-onion/words",
    FORMER,
)


def portable(own: JID) -> Callable[[str], bool]:
    """Return what tells of a key of the store whether it is taken along.

    Args:
        own: The account: which devices it has is read from its list anew.
    """
    ours = f"/devices/{own.bare}/"
    return lambda key: key.startswith(_MOVED) and not key.startswith(ours)
