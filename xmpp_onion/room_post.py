"""The way out to a room: who may read it now, keys, one transaction, the outbox.

Nothing is said in a room that lets in others than its members, or hides who they
are. Who the members are is looked at when it is encrypted, and again when it goes
(:mod:`.room_watch`).
"""

import asyncio
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from xml.etree import ElementTree as ET

from xmpp_onion.address import JID
from xmpp_onion.chat import Content, Delivery, DeliveryState, RoomState
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import (
    OMEMO_OLD,
    Omemo,
    Plain,
    RoomEncrypted,
    reader_ids,
    room_within,
)
from xmpp_onion.errors import (
    DeliveryFailedError,
    EncryptionError,
    RoomError,
    SessionError,
)
from xmpp_onion.provision import Provision
from xmpp_onion.rooms import MARKED_MEMBERS, RoomNames, Rooms, may_hear
from xmpp_onion.session import Session, message_stanza, write_content
from xmpp_onion.store import Database, Outbox, Write
from xmpp_onion.timers import Timers

__all__ = ["RoomPost", "check_timer", "older"]

_UNSENT = "nothing was sent"


class _ChangedError(Exception):
    """The room changed while keys were fetched: look again."""


class RoomPost:
    """Takes messages to rooms from the caller to the disk.

    Args:
        database: Of the account.
        session: Where keys are asked for.
        omemo: Encrypts.
        rooms: Who may read what is said in them.
        courier: Carries what is kept.
        deliveries: Knows how far it has come.
        timers: Say when something is to be erased.
        provision: Gets the keys.
    """

    def __init__(
        self,
        database: Database,
        session: Session,
        omemo: Omemo,
        rooms: Rooms,
        *,
        courier: Courier,
        deliveries: Deliveries,
        timers: Timers,
        provision: Provision,
    ) -> None:
        self._timers = timers
        self._provision = provision
        self._database = database
        self._outbox = Outbox(database)
        self._session = session
        self._omemo = omemo
        self._rooms = rooms
        self._names = RoomNames(database, rooms.own)
        self._courier = courier
        self._deliveries = deliveries

    def is_room(self, jid: JID) -> bool:
        """Tell whether a recipient is a room that we are in, or want to be.

        Raises:
            RoomError: It is a room of our server, and we are not in it.
        """
        self._rooms.check_joined(jid)
        return self._rooms.state(jid) is not None

    async def check_person(self, jid: JID) -> None:
        """Ask whether a recipient without keys is a room where we are not in.

        Raises:
            RoomError: It is one.
        """
        await self._rooms.check_person(jid)

    async def keep(
        self,
        room: JID,
        what: Content,
        deadline: float | None,
        *,
        allow_clear: bool,
        along: Write | None = None,
    ) -> tuple[Delivery, asyncio.Future[None]]:
        """Encrypt and keep; the future completes when the server has it.

        Raises:
            RoomError: It is no room in which something may be said.
            EncryptionError: It cannot be encrypted; nothing was kept.
            SessionError: Not in time.
        """
        what = await self._names.outward(room, what)
        while True:
            losses, state = await self._fetch(room, deadline, what)
            try:
                return await self._encrypt(
                    state, what, allow_clear=allow_clear, along=along
                )
            except _ChangedError:
                continue
            except EncryptionError:
                # What a broken connection left out may be all that was missing.
                if losses == self._session.losses:
                    await self._omemo.notices.flush()
                    raise
            finally:
                # Whoever waits for this may have given up while it was committed.
                self._courier.look()

    async def members(self, room: JID, deadline: float | None) -> Collection[JID]:
        """Return who would read what is said now, in a room that is private.

        Raises:
            RoomError: It is no room in which something may be said.
            SessionError: Not in time.
        """
        _, state = await self._fetch(room, deadline)
        return state.members

    async def _fetch(
        self, room: JID, deadline: float | None, what: Content | None = None
    ) -> tuple[int, RoomState]:
        try:
            async with asyncio.timeout_at(deadline):
                state = await self._until_private(room)
            losses = await self._provision.fetch(_audience(state, what), deadline)
        except TimeoutError:
            raise SessionError(
                _UNSENT,
                why="the room did not let us in, or keys did not come, in time",
                fix="Send it again when the connection is back.",
            ) from None
        return losses, state

    async def _until_private(self, room: JID) -> RoomState:
        """Return a room when we are in, and it was read that it is private."""
        was_read = False
        state = self._rooms.state(room)
        # Read in this session, which is away: it may yet come back to the same room.
        # What goes is held against the room again, see room_watch.
        is_open = state is not None and may_hear(state)
        if state and is_open and await self._provision.is_spared(state.members):
            return state
        await self._session.wait_online()
        while True:
            changed, state = self._rooms.changed, self._rooms.state(room)
            if state is None:
                raise RoomError(
                    _UNSENT,
                    why="we are not in this room any more",
                    fix=f"Join it: xmpp-onion room join {room}",
                )
            if not state.is_joined:
                if (refusal := self._rooms.refusal(room)) is not None:
                    raise refusal
                await changed.wait()
            elif may_hear(state):
                return state
            elif state.is_private:
                raise _unaccepted(state)
            elif was_read:
                raise _not_private(state)
            else:  # it may only have changed in something else
                await self._rooms.refresh(room)
                was_read = True

    async def _encrypt(
        self,
        state: RoomState,
        what: Content,
        *,
        allow_clear: bool,
        along: Write | None,
    ) -> tuple[Delivery, asyncio.Future[None]]:
        message_id, room = what.id or secrets.token_hex(16), state.jid
        beside = write_content(what)
        clear = beside if allow_clear else ()
        async with self._database.transaction():
            now = self._rooms.state(room)
            if now is None or not may_hear(now) or now.members.keys() - state.members:
                raise _ChangedError
            plain = Plain(what.text, write_content(_markable(what)))
            limit = room_within(self._session.stanza_limit, clear)
            encrypted = await self._omemo.rooms.encrypt(
                _audience(now, what), plain, room, limit_bytes=limit
            )
            readers = older([each for part in encrypted.parts for each in part])
            check_timer(what, readers, allow_clear=allow_clear)
            delivery = Delivery(
                id=message_id,
                to=room,
                devices=encrypted.devices,
                skipped=encrypted.skipped,
                state=DeliveryState.QUEUED,
                text_only=readers if beside and not clear else 0,
            )
            row_ids = await self._put(delivery, encrypted, clear, what)
            await self._deliveries.begin(delivery)
            if along is not None:
                await along()
            await self._courier.keep_effects()
        return delivery, joint([self._courier.expect(row_id) for row_id in row_ids])

    async def _put(
        self,
        delivery: Delivery,
        encrypted: RoomEncrypted,
        clear: Sequence[ET.Element],
        what: Content,
    ) -> list[int]:
        """Put the stanzas into the outbox; return their rows.

        Who has no key in one of several must not be told so: theirs is in another.
        """
        row_ids, is_said = [], what.text is not None
        expires_at = self._timers.begin(what.expires)
        for elements in encrypted.parts:
            here = reader_ids(elements)
            row_id = await self._outbox.add(
                message_stanza(
                    delivery.to,
                    delivery.id,
                    elements,
                    clear=clear,
                    silent=not is_said or len(encrypted.parts) > 1,
                    is_room=True,
                ),
                to=delivery.to,
                message_id=delivery.id,
                expires_at=expires_at,
                readers={
                    jid: ids & here
                    for jid, ids in encrypted.readers.items()
                    if ids & here
                },
            )
            row_ids.append(row_id)
        return row_ids


def joint(parts: Sequence[asyncio.Future[None]]) -> asyncio.Future[None]:
    """Return what completes when all stanzas of a message are with the server.

    Those without readers left do not count; if that is all of them, it fails. So it
    does where it is unknown what becomes of one.
    """
    if len(parts) == 1:
        return parts[0]
    whole = asyncio.get_running_loop().create_future()

    def look(_: asyncio.Future[None]) -> None:
        if whole.done() or not all(part.done() for part in parts):
            return
        errors = [error for part in parts if (error := part.exception())]
        unknown = [each for each in errors if not isinstance(each, DeliveryFailedError)]
        if unknown or len(errors) == len(parts):
            whole.set_exception((unknown or errors)[0])
            whole.exception()  # not everybody waits: no warning for that
        else:
            whole.set_result(None)

    for part in parts:
        part.add_done_callback(look)
    return whole


def older(elements: Iterable[ET.Element]) -> int:
    """Return how many devices get the text alone: the older version has no room."""
    return len(reader_ids(each for each in elements if OMEMO_OLD in each.tag))


def check_timer(what: Content, older_devices: int, *, allow_clear: bool) -> None:
    """Refuse to send what some devices would keep because nobody told them.

    Raises:
        EncryptionError: That is so.
    """
    if what.expires is not None and older_devices and not allow_clear:
        raise EncryptionError(
            _UNSENT,
            why=f"{older_devices} device(s) that would get it use an OMEMO that "
            "cannot carry how long it may be kept",
            fix="Leave that out, or say it to every server, too: "
            "allow_clear_metadata=True",
        )


def _markable(what: Content) -> Content:
    """Let readers of a text tell that they were shown it.

    Nobody is asked to say that it arrived: each would say it to all (XEP-0184), and
    the room itself says that it has given it to all.
    """
    return replace(what, markable=what.text is not None)


def _audience(state: RoomState, what: Content | None) -> Collection[JID]:
    """Return who reads something: who read what is told to its author alone.

    Raises:
        RoomError: Nobody says so in this room, or the author is out of it.
    """
    if what is None or not what.displayed:
        return state.members
    if len(state.members) > MARKED_MEMBERS:
        raise RoomError(
            _UNSENT,
            why=f"in a room of more than {MARKED_MEMBERS} nobody says what they read",
        )
    if what.author not in state.members:
        raise RoomError(_UNSENT, why="who wrote it is no member of the room any more")
    return (JID(what.author),)


def _not_private(state: RoomState) -> RoomError:
    return RoomError(
        _UNSENT,
        why=f"the room is not private: {state.why}",
        fix="One of its owners can make it members-only, and show real addresses.",
    )


def _unaccepted(state: RoomState) -> RoomError:
    names = ", ".join(sorted(state.unaccepted))
    return RoomError(
        _UNSENT,
        why=f"the room has members that nobody accepted yet: {names}",
        fix=f"xmpp-onion room accept {state.jid} JID; or have them taken out.",
    )
