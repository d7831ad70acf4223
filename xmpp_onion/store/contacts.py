"""The contact list as we last heard of it.

Known before the server has told it anew, so that nobody is taken for a stranger
while a login goes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xmpp_onion.store.database import Database


@dataclass(frozen=True, slots=True)
class ContactRow:
    """Somebody on the list.

    Attributes:
        jid: A bare JID.
        subscription: none, to, from or both.
        ask: We have asked, and they have not answered.
    """

    jid: str
    subscription: str
    ask: bool


class Contacts:
    """One row for each contact; read from memory after the first time.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, ContactRow] | None = None
        database.on_rollback(self._forget)

    def _forget(self) -> None:
        self._known = None

    async def all(self) -> dict[str, ContactRow]:
        """Return everybody, by JID."""
        if self._known is None:
            rows = await self._database.fetch("SELECT * FROM contacts")
            self._known = {
                row["jid"]: ContactRow(
                    row["jid"], row["subscription"], bool(row["ask"])
                )
                for row in rows
            }
        return dict(self._known)

    async def is_contact(self, jid: str) -> bool:
        """Tell whether one of us has let the other see, or we have asked for it."""
        if self._known is None:
            await self.all()
        row = None if self._known is None else self._known.get(jid)
        return row is not None and (row.subscription != "none" or row.ask)

    async def put(self, rows: Iterable[ContactRow]) -> None:
        """Add contacts, or change them.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._forget()
        await self._database.execute_many(
            "INSERT OR REPLACE INTO contacts (jid, subscription, ask) VALUES (?, ?, ?)",
            [(row.jid, row.subscription, int(row.ask)) for row in rows],
        )

    async def remove(self, jids: Iterable[str]) -> None:
        """Forget contacts.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        self._forget()
        await self._database.execute_many(
            "DELETE FROM contacts WHERE jid = ?", [(jid,) for jid in jids]
        )
