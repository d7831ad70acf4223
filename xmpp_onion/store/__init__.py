"""What an account keeps on the disk: one SQLite file, private and locked.

Each name is loaded when it is first used: who only asks whether an account is free
need not wait for SQLite.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmpp_onion.store.attempts import Attempts
    from xmpp_onion.store.contacts import ContactRow, Contacts
    from xmpp_onion.store.conversion import encrypt
    from xmpp_onion.store.cursors import Cursor, Cursors
    from xmpp_onion.store.database import Database, Write
    from xmpp_onion.store.deliveries import DeliveryRow, DeliveryRows
    from xmpp_onion.store.extract import read_rows, write_rows
    from xmpp_onion.store.files import check_free
    from xmpp_onion.store.group import Moment
    from xmpp_onion.store.inbox import Inbox, InboxRow
    from xmpp_onion.store.keys import Keys
    from xmpp_onion.store.notes import Notes
    from xmpp_onion.store.outbox import JobRow, Outbox, OutboxRow
    from xmpp_onion.store.owed import Owed, OwedRow
    from xmpp_onion.store.renaming import rename
    from xmpp_onion.store.requests import RequestRow, Requests
    from xmpp_onion.store.room_marks import RoomMarks
    from xmpp_onion.store.room_names import RoomNames
    from xmpp_onion.store.rooms import (
        INVITATION_LIMIT,
        InvitationRow,
        MemberRow,
        RoomRow,
        Rooms,
    )
    from xmpp_onion.store.rows import reading
    from xmpp_onion.store.set_aside import SetAside, WaitingRow
    from xmpp_onion.store.strangers import Strangers, Tally
    from xmpp_onion.store.timers import TimerTable
    from xmpp_onion.store.tokens import TokenRow, Tokens

# Where each name lives.
_HOMES = {
    "INVITATION_LIMIT": "rooms",
    "Attempts": "attempts",
    "ContactRow": "contacts",
    "Contacts": "contacts",
    "Cursor": "cursors",
    "Cursors": "cursors",
    "Database": "database",
    "DeliveryRow": "deliveries",
    "DeliveryRows": "deliveries",
    "Inbox": "inbox",
    "InboxRow": "inbox",
    "InvitationRow": "rooms",
    "JobRow": "outbox",
    "Keys": "keys",
    "MemberRow": "rooms",
    "Moment": "group",
    "Notes": "notes",
    "Outbox": "outbox",
    "OutboxRow": "outbox",
    "Owed": "owed",
    "OwedRow": "owed",
    "RequestRow": "requests",
    "Requests": "requests",
    "RoomMarks": "room_marks",
    "RoomNames": "room_names",
    "RoomRow": "rooms",
    "Rooms": "rooms",
    "SetAside": "set_aside",
    "Strangers": "strangers",
    "Tally": "strangers",
    "TimerTable": "timers",
    "TokenRow": "tokens",
    "Tokens": "tokens",
    "WaitingRow": "set_aside",
    "Write": "database",
    "check_free": "files",
    "encrypt": "conversion",
    "read_rows": "extract",
    "reading": "rows",
    "rename": "renaming",
    "write_rows": "extract",
}

__all__ = [
    "INVITATION_LIMIT",
    "Attempts",
    "ContactRow",
    "Contacts",
    "Cursor",
    "Cursors",
    "Database",
    "DeliveryRow",
    "DeliveryRows",
    "Inbox",
    "InboxRow",
    "InvitationRow",
    "JobRow",
    "Keys",
    "MemberRow",
    "Moment",
    "Notes",
    "Outbox",
    "OutboxRow",
    "Owed",
    "OwedRow",
    "RequestRow",
    "Requests",
    "RoomMarks",
    "RoomNames",
    "RoomRow",
    "Rooms",
    "SetAside",
    "Strangers",
    "Tally",
    "TimerTable",
    "TokenRow",
    "Tokens",
    "WaitingRow",
    "Write",
    "check_free",
    "encrypt",
    "read_rows",
    "reading",
    "rename",
    "write_rows",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
