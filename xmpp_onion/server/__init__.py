"""An XMPP server on a Tor onion service: Prosody, run and looked after.

`Server` is all of it; `Prosody` is the same without Tor, on loopback, for tests.
`Ejabberd` is another engine, for one name that is too large for one Prosody.
"""

from xmpp_onion.server.background import detach
from xmpp_onion.server.backup import Saved, backup, restore
from xmpp_onion.server.checkup import examine
from xmpp_onion.server.clients import Guest
from xmpp_onion.server.doors import give_key, list_keys, revoke_key
from xmpp_onion.server.ejabberd import Ejabberd
from xmpp_onion.server.health import Health, Load, State, note_state, read_health
from xmpp_onion.server.initialisation import initialise
from xmpp_onion.server.invites import add_account, create_introduction, create_invite
from xmpp_onion.server.keeping import keep
from xmpp_onion.server.open_invites import OpenInvite, list_invites, revoke_invite
from xmpp_onion.server.options import (
    STAMP_LIMIT,
    Archive,
    Door,
    Engine,
    Federation,
    Options,
)
from xmpp_onion.server.page import publish_page
from xmpp_onion.server.rotation import DEFAULT_GRACE, Rotated, rotate
from xmpp_onion.server.runner import Prosody
from xmpp_onion.server.service import Server
from xmpp_onion.server.shutdown import stop
from xmpp_onion.server.visit import visit

__all__ = [
    "DEFAULT_GRACE",
    "STAMP_LIMIT",
    "Archive",
    "Door",
    "Ejabberd",
    "Engine",
    "Federation",
    "Guest",
    "Health",
    "Load",
    "OpenInvite",
    "Options",
    "Prosody",
    "Rotated",
    "Saved",
    "Server",
    "State",
    "add_account",
    "backup",
    "create_introduction",
    "create_invite",
    "detach",
    "examine",
    "give_key",
    "initialise",
    "keep",
    "list_invites",
    "list_keys",
    "note_state",
    "publish_page",
    "read_health",
    "restore",
    "revoke_invite",
    "revoke_key",
    "rotate",
    "stop",
    "visit",
]
