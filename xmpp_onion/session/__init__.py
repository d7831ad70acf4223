"""One XMPP session over Tor, kept alive; and how to make an account.

:class:`Session` is the way in; everything it yields is an event to ``match``.
"""

from xmpp_onion.session.archive import Archive, Archived
from xmpp_onion.session.catch_up import CatchUp, Page
from xmpp_onion.session.events import (
    Connected,
    Disconnected,
    Received,
    SessionEvent,
    SubscriptionRequest,
)
from xmpp_onion.session.liveness import Timing
from xmpp_onion.session.login import Dialer
from xmpp_onion.session.registration import register
from xmpp_onion.session.stanzas import (
    Contact,
    Incoming,
    message_stanza,
    presence_stanza,
    read_message,
    serialise,
)
from xmpp_onion.session.stream import Session

__all__ = [
    "Archive",
    "Archived",
    "CatchUp",
    "Connected",
    "Contact",
    "Dialer",
    "Disconnected",
    "Incoming",
    "Page",
    "Received",
    "Session",
    "SessionEvent",
    "SubscriptionRequest",
    "Timing",
    "message_stanza",
    "presence_stanza",
    "read_message",
    "register",
    "serialise",
]
