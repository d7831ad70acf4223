"""What a login asks before anybody knows whether it will succeed.

All that a new session has to know goes out behind the login, in the same flight: our
device lists, the contact list, the archive from where we left it, and messages that
wait for the server. The session holds the answers back until the server has let us
in; if it does not, all is asked again with the next login.
"""

import logging
from contextlib import suppress
from datetime import UTC, datetime

from xmpp_onion.backlog import Backlog
from xmpp_onion.contacts import Contacts
from xmpp_onion.e2ee import FarWitness, SlixmppPep
from xmpp_onion.errors import SessionError, StoreError
from xmpp_onion.hopes import Hopes
from xmpp_onion.session import Session

__all__ = ["Ahead"]

log = logging.getLogger(__name__)


class Ahead:
    """Asks for what a new session begins with, once for each.

    Args:
        session: Asks, and says whether there is a stream to resume.
        hopes: The messages that go along.
        backlog: Our archive.
        contacts: The contact list.
        pep: Our device lists.
        witness: How far the server knows the store.
    """

    def __init__(
        self,
        session: Session,
        *,
        hopes: Hopes,
        backlog: Backlog,
        contacts: Contacts,
        pep: SlixmppPep,
        witness: FarWitness,
    ) -> None:
        self._session = session
        self._hopes = hopes
        self._backlog = backlog
        self._contacts = contacts
        self._pep = pep
        self._witness = witness
        self._is_asked = False

    async def ask(self) -> None:
        """Have the next login take along what is asked; a resumed stream needs none."""
        self._is_asked = False
        with suppress(StoreError):  # who reads it when we are in says so
            await self._hopes.give(datetime.now(UTC))
        if self._session.xmpp.resume_id:
            return
        await self._ask_server()
        await self._witness.ask_ahead()
        self._pep.ask_ahead()
        self._is_asked = True

    async def ensure(self) -> None:
        """Ask now, on a new stream, unless the login did."""
        was_asked, self._is_asked = self._is_asked, False
        if was_asked:
            return
        self._pep.forget_asked()
        await self._ask_server()
        await self._witness.open()

    async def _ask_server(self) -> None:
        with suppress(SessionError):  # asked again when its turn comes
            await self._backlog.ask()
        self._session.ask_for_copies()
        self._contacts.ask()
