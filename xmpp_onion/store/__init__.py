"""What an account keeps on the disk: one SQLite file, private and locked."""

from xmpp_onion.store.attempts import Attempts
from xmpp_onion.store.contacts import ContactRow, Contacts
from xmpp_onion.store.conversion import encrypt
from xmpp_onion.store.cursors import Cursor, Cursors
from xmpp_onion.store.database import Database, Write
from xmpp_onion.store.deliveries import DeliveryRow, DeliveryRows
from xmpp_onion.store.extract import read_rows, write_rows
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
    "encrypt",
    "read_rows",
    "reading",
    "rename",
    "write_rows",
]
