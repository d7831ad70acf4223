"""What is told of rooms, and kept so that it is told once: coalesced, and bounded.

A room may be on a hostile server, and a hundred people come at nine. So who comes
and goes is collected for a moment, and told as a number when it is much. Who is a
member is compared with who was: that is told also after a restart.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.chat import (
    Affiliation,
    RoomChange,
    RoomEvent,
    doubts,
    write_event,
)
from xmpp_onion.session import Bucket, Change, Occupancy
from xmpp_onion.store import (
    Cursor,
    Cursors,
    Database,
    Inbox,
    MemberRow,
    RoomRow,
    Rooms,
    reading,
)

__all__ = ["RoomJournal"]

# Seconds for which what happens is collected: who comes and goes at once is nobody.
_CALM: Final = 1.0
# Comings and goings of one room: so many at once are named, and then one in ten
# seconds, 8,640 a day; the others are a number.
_NAMED: Final = 20
_NAMED_PER_SECOND: Final = 0.1
# Members that changed at once and are named.
_MEMBERS_NAMED: Final = 50
_CROWD: Final = frozenset({RoomChange.JOINED, RoomChange.LEFT})


@dataclass(slots=True)
class _Page:
    """What of one room is not told yet."""

    occupancy: Occupancy
    crowd: dict[tuple[JID | None, str], Change] = field(default_factory=dict)
    counted: dict[RoomChange, int] = field(default_factory=dict)
    by: dict[JID, JID] = field(default_factory=dict)
    removed: Change | None = None


class RoomJournal:
    """Tells what happens in rooms.

    Args:
        database: Of the account.
        news: Set when the inbox has got something.
        calm: Seconds for which what happens is collected.

    Attributes:
        table: The rooms as kept.
    """

    def __init__(
        self,
        database: Database,
        *,
        news: asyncio.Event,
        calm: float = _CALM,
    ) -> None:
        self.table = Rooms(database)
        self._database = database
        self._inbox, self._cursors = Inbox(database), Cursors(database)
        self._news = news
        self._calm = calm
        self._pages: dict[JID, _Page] = {}
        self._pending = asyncio.Event()
        self._named = Bucket(_NAMED, _NAMED_PER_SECOND)

    async def accepted(self, row: RoomRow) -> tuple[JID, frozenset[JID]]:
        """Return a room that is kept, and whom we may send to there."""
        members = await self.table.members(row.jid)
        with reading(self._database.path, "rooms"):
            return JID(row.jid), frozenset(JID(m.jid) for m in members if m.accepted)

    async def keep(
        self, occupancy: Occupancy, nick: str, begin: Cursor | None = None
    ) -> None:
        """Keep that we are in a room, after a restart too; what changes is news now.

        Who is a member when we come in is accepted with the room. From one moment on
        we are in, and nothing that is said after ``begin`` is missed.

        Args:
            occupancy: The room.
            nick: Our name there.
            begin: Where its archive ended before we came in, if that is known.
        """
        room, state = occupancy.room, occupancy.state()
        async with self._database.transaction():
            row = await self.table.load(room) or RoomRow(room, nick)
            if not row.known and occupancy.are_members_known:
                occupancy.accept(state.members)
                rows = [MemberRow(jid, each) for jid, each in state.members.items()]
                await self.table.put_members(room, rows)
                row = replace(row, known=True, private=state.is_private)
            await self.table.put(replace(row, nick=nick))
            await self.table.remove_invitation(room)
            if begin is not None and await self._cursors.load(room) is None:
                await self._cursors.move(room, begin)

    async def keep_accepted(self, occupancy: Occupancy) -> None:
        """Keep whether a room is strict, and whom it may send to."""
        room = occupancy.room
        async with self._database.transaction():
            row = await self.table.load(room)
            if row is None:
                return
            await self.table.put(replace(row, strict=occupancy.is_strict))
            rows = [
                replace(each, accepted=JID(each.jid) in occupancy.accepted)
                for each in await self.table.members(room)
            ]
            await self.table.put_members(room, rows)

    async def forget(self, room: JID) -> None:
        """Keep nothing of a room: we left it."""
        self._pages.pop(room, None)
        async with self._database.transaction():
            await self.table.remove(room)

    def note(self, occupancy: Occupancy, changes: Iterable[Change] = ()) -> None:
        """Note what happened in a room; it is told soon."""
        page = self._pages.setdefault(occupancy.room, _Page(occupancy))
        for change in changes:
            if change.by is not None and change.who is not None:
                page.by[change.who] = change.by
            if change.change is RoomChange.REMOVED:
                page.removed = change
            elif change.change in _CROWD:
                self._note_crowd(page, change)
        self._pending.set()

    def _note_crowd(self, page: _Page, change: Change) -> None:
        """Note who comes or goes; who did both meanwhile is as before."""
        key = change.who, change.nick
        before = page.crowd.pop(key, None)
        if before is not None and before.change is not change.change:
            return
        if self._named.take(page.occupancy.room):
            page.crowd[key] = change
        else:
            page.counted[change.change] = page.counted.get(change.change, 0) + 1

    async def run(self) -> None:
        """Tell what was noted, a moment later; never returns."""
        while True:
            await self._pending.wait()
            await asyncio.sleep(self._calm)
            await self.write_down()

    async def write_down(self) -> None:
        """Tell what was noted until now; one transaction for each room."""
        self._pending.clear()
        for room in list(self._pages):
            page = self._pages.pop(room)
            try:
                async with self._database.transaction():
                    row = await self.table.load(room)
                    if row is not None:
                        await self._write(page, row)
            except BaseException:
                self._pages.setdefault(room, page)  # nothing of it is on the disk
                self._pending.set()
                raise
            self._news.set()

    async def _write(self, page: _Page, row: RoomRow) -> None:
        room = page.occupancy.room
        for event in (*_comings(page), *await self._compare(page, row)):
            await self._inbox.put(write_event(event))
        if page.removed is not None:
            await self._inbox.put(write_event(_event(room, page.removed)))
            await self.table.remove(room)

    async def _compare(self, page: _Page, row: RoomRow) -> list[RoomEvent]:
        """Keep what the room is now, and return what of it is news."""
        occupancy = page.occupancy
        if occupancy.is_stale or page.removed is not None:
            return []
        events: list[RoomEvent] = []
        state = occupancy.state()
        if row.known and row.private != state.is_private:
            configured = Change(RoomChange.CONFIGURATION, reason=state.why)
            told = replace(
                _event(occupancy.room, configured), is_private=state.is_private
            )
            events.append(told)
        if occupancy.are_members_known:
            events += await self._compare_members(page, row)
        known = row.known or occupancy.are_members_known
        now = replace(row, known=known, private=state.is_private)
        if now != row:
            await self.table.put(now)
        return events

    async def _compare_members(self, page: _Page, row: RoomRow) -> list[RoomEvent]:
        occupancy, now = page.occupancy, page.occupancy.members
        members = await self.table.members(row.jid)
        with reading(self._database.path, "room_members"):
            rows = {JID(each.jid): each for each in members}
        wanted = {
            jid: MemberRow(
                jid, affiliation, not row.strict or jid in occupancy.accepted
            )
            for jid, affiliation in now.items()
        }
        changed = [each for jid, each in wanted.items() if rows.get(jid) != each]
        gone = rows.keys() - now.keys()
        if changed:
            await self.table.put_members(row.jid, changed)
        if gone:
            await self.table.remove_members(row.jid, gone)
        if not row.known:
            return []
        news = {
            jid: now.get(jid, Affiliation.NONE)
            for jid in (*now, *gone)
            if jid not in rows or rows[jid].affiliation != now.get(jid)
        }
        if len(news) > _MEMBERS_NAMED:
            many = _event(occupancy.room, Change(RoomChange.AFFILIATION))
            return [replace(many, count=len(news))]
        return [
            _event(
                occupancy.room,
                Change(
                    RoomChange.AFFILIATION,
                    jid,
                    affiliation=affiliation,
                    by=page.by.get(jid),
                ),
            )
            for jid, affiliation in news.items()
        ]


def _comings(page: _Page) -> list[RoomEvent]:
    room, doubtful = page.occupancy.room, {}
    if any(change.change is RoomChange.JOINED for change in page.crowd.values()):
        doubtful = doubts(page.occupancy.state())
    events = [
        _event(room, change)
        if change.change is not RoomChange.JOINED
        else _event(room, replace(change, reason=doubtful.get(change.nick, "")))
        for change in page.crowd.values()
    ]
    for change, count in page.counted.items():
        events.append(replace(_event(room, Change(change)), count=count))
    return events


def _event(room: JID, change: Change) -> RoomEvent:
    return RoomEvent(
        sender=room,
        change=change.change,
        at=datetime.now(UTC),
        who=change.who,
        nick=change.nick,
        affiliation=change.affiliation,
        by=change.by,
        reason=change.reason,
    )
