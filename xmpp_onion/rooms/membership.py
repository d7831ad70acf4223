"""Who may be in our rooms, and what each is to them: asked, changed, accepted.

The room keeps it, and tells all who are in; only whom a strict room may send to is
ours alone.
"""

from collections.abc import Callable, Iterable

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation
from xmpp_onion.errors import RoomError
from xmpp_onion.rooms.care import Kept, RoomCare, in_time
from xmpp_onion.rooms.journal import RoomJournal
from xmpp_onion.session import Session

__all__ = ["Membership"]


class Membership:
    """The members of the rooms of one account.

    Each raises RoomError where the room refused or we are not in it, and
    SessionError where no connection, or no answer, came within ``timeout`` seconds.

    Args:
        session: Asks the rooms.
        care: Reads them.
        journal: Keeps whom a strict room may send to.
        find: Returns a room that we are in, or raises RoomError.
    """

    def __init__(
        self,
        session: Session,
        care: RoomCare,
        journal: RoomJournal,
        *,
        find: Callable[[JID], Kept],
    ) -> None:
        self._session = session
        self._service = session.rooms
        self._care = care
        self._journal = journal
        self._find = find

    async def read(self, room: JID, timeout: float) -> dict[JID, Affiliation]:
        """Return owners, admins and members, as the room says now."""
        kept = self._find(room)
        async with in_time(self._session, timeout):
            await self._care.read(kept.occupancy)
        if not kept.occupancy.are_members_known:
            raise RoomError(
                "the room does not tell who its members are",
                fix="Ask one of its owners to make it members-only.",
            )
        return kept.occupancy.members

    async def invite(
        self, room: JID, jid: JID, timeout: float, *, is_direct: bool
    ) -> None:
        """Ask somebody to come; directly, they are made a member before."""
        # Who is an admin, say, would be one no more.
        is_new = is_direct and jid not in self._find(room).occupancy.members
        if is_new:
            await self.grant(room, jid, Affiliation.MEMBER, timeout)
        try:
            async with in_time(self._session, timeout):
                await self._service.invite(room, jid, is_direct=is_direct)
        except RoomError:
            if is_new:  # whoever makes that account one day is not meant
                await self.grant(room, jid, Affiliation.NONE, timeout)
            raise

    async def grant(
        self, room: JID, jid: JID, affiliation: Affiliation, timeout: float
    ) -> None:
        """Make an account something else to a room. Whom we let in is accepted."""
        kept = self._find(room)
        if affiliation.is_member:
            kept.occupancy.accept([jid])
        async with in_time(self._session, timeout):
            await self._service.grant(room, jid, affiliation)
        if affiliation.is_member:
            # Again: a list that was read meanwhile may not have had them yet.
            kept.occupancy.accept([jid])
            await self._journal.keep_accepted(kept.occupancy)
            self._care.news.tell()

    async def accept(self, room: JID, jids: Iterable[JID]) -> None:
        """Let a strict room send to new members."""
        occupancy = self._find(room).occupancy
        occupancy.accept(jids)
        await self._journal.keep_accepted(occupancy)
        self._care.news.tell()

    async def be_strict(self, room: JID, *, strict: bool) -> None:
        """Let a room wait for each new member from now on, or not."""
        occupancy = self._find(room).occupancy
        occupancy.accept(occupancy.members)
        occupancy.be_strict(strict=strict)
        await self._journal.keep_accepted(occupancy)
        self._care.news.tell()
