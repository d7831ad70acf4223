"""Sessions and pre-keys that last, and that need not be made anew for each message.

Three things are done otherwise than in the library's backends:

A session stays in memory between messages, and is one row on the disk. What is in
memory is used only while its row holds what was written from it. So neither a
roll-back nor a failure leaves a session that is ahead of the disk: the row differs,
or the session was put aside before it changed.

When two devices write to each other for the first time at the same moment, each
begins a session and each takes the other's in its place. The library keeps one
session for a device, so from then on neither can read the other. libsignal keeps
the sessions that were replaced for a while, and so does this.

Used pre-keys serve on for a while (``pre_keys.py``).

After a roll-back of the store its sessions are retired (``epoch.py``): they decrypt,
and another one is begun to send with.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

import doubleratchet
import omemo
from omemo.backend import Backend
from omemo.message import EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session

from xmpp_onion.e2ee.epoch import Epoch
from xmpp_onion.e2ee.ratchet import Ratchet, write_bytes
from xmpp_onion.e2ee.record import join
from xmpp_onion.e2ee.storage import KeyStorage

__all__ = ["LastingSessions", "wall_clock"]

# Sessions kept for a device besides the one in use. libsignal keeps 40; a peer
# that begins more than this while our answer is on its way is broken.
_ARCHIVED = 4
# Devices of one JID that we keep sessions with. A list is cut at 32; the rest are
# devices that were there before.
_DEVICES = 64
# Sessions in memory: a room of 200 people with five devices each.
_LIVE = 1000
# What the library calls the rows of one session.
_OLD_PARTS = (
    "initiation",
    "key_exchange/identity_key",
    "key_exchange/ephemeral_key",
    "key_exchange/signed_pre_key",
    "key_exchange/signed_pre_key_id",
    "key_exchange/pre_key",
    "key_exchange/pre_key_id",
    "associated_data",
    "double_ratchet",
    "confirmed",
)

SessionT = TypeVar("SessionT", bound=Session)
EncryptedT = TypeVar("EncryptedT", bound=EncryptedKeyMaterial)
PlainT = TypeVar("PlainT", bound=PlainKeyMaterial)


def wall_clock() -> float:
    """Return the time in seconds since 1970."""
    return time.time()


class LastingSessions(Backend, Generic[SessionT, EncryptedT, PlainT]):
    """The sessions of one store. Everything that writes is inside a transaction."""

    def _start(
        self, storage: KeyStorage, epoch: Epoch | None, now: Callable[[], float]
    ) -> None:
        """Do what a constructor does; the library's has another signature."""
        self._storage = storage
        self._epoch = epoch or Epoch(storage)
        self._now = now
        # What is in memory, and the text of its row.
        self._live: dict[str, tuple[str, SessionT]] = {}
        self.deletions = 0
        self._found: _Found[SessionT] | None = None

    def forget(self) -> None:
        """Give back the memory. It is never needed for the sake of a roll-back."""
        self._live.clear()
        self._found = None

    # --- what the library does, under names of its own ----------------------------

    @abstractmethod
    async def _load_old(self, bare_jid: str, device_id: int) -> SessionT | None:
        """Read a session that the library wrote: ten rows."""

    @abstractmethod
    async def _encrypt(
        self, session: Session, plain_key_material: PlainKeyMaterial
    ) -> EncryptedT:
        """Encrypt with a session."""

    @abstractmethod
    async def _decrypt(
        self, session: Session, encrypted_key_material: EncryptedKeyMaterial
    ) -> PlainT:
        """Decrypt with a session, which does not change if that fails."""

    # --- what the library keeps private, by its types -----------------------------

    @abstractmethod
    def _own_type(self, session: Session) -> SessionT:
        """Return a session, which is of this backend."""

    @abstractmethod
    def _ephemeral_key(self, session: Session) -> bytes:
        """Return the ephemeral key of a session's key exchange, always another one."""

    @abstractmethod
    def _ratchet(self, session: SessionT) -> Ratchet:
        """Return the ratchet of a session, which is one of ours."""

    @abstractmethod
    def _lasting(self, session: SessionT, bare_jid: str) -> SessionT:
        """Return a session that the library read, with a ratchet of ours."""

    @abstractmethod
    def _read_session(self, bare_jid: str, device_id: int, text: str) -> SessionT:
        """Return the session that a row holds, still without its skipped keys."""

    # --- the session in use -------------------------------------------------------

    async def load_session(self, bare_jid: str, device_id: int) -> SessionT | None:
        """Return the session in use with a device."""
        self._found = None
        return await self._read(bare_jid, device_id, self._row(bare_jid, device_id))

    async def may_send(self, bare_jid: str, device_id: int) -> bool:
        """Tell whether there is a session to send with; also outside transactions."""
        row = self._row(bare_jid, device_id)
        session = await self._read(bare_jid, device_id, row)
        return session is not None and not await self.is_retired(session)

    async def name_session(self, bare_jid: str, device_id: int) -> str:
        """Return what tells the session in use from others; empty if there is none."""
        row = self._row(bare_jid, device_id)
        session = await self._read(bare_jid, device_id, row)
        return "" if session is None else write_bytes(self._ephemeral_key(session))

    async def has_session(self, bare_jid: str, device_id: int) -> bool:
        """Tell whether there is a session with a device; also outside transactions."""
        for row in (self._row(bare_jid, device_id), self._old(bare_jid, device_id)):
            if await self._storage.load_text(row) is not None:
                return True
        return False

    async def store_session(self, session: Session) -> None:
        """Keep a session as the one in use, and the one that it replaces."""
        ours = self._own_type(session)
        jid, device_id = ours.bare_jid, ours.device_id
        if await self._is_superseded(ours):
            await self._rewrite_archived(ours)
            return
        found, before = self._found, await self._replaced(ours)
        if found is None or found.held is not ours:
            if before is not None:
                archived = await self._archive(jid, device_id)
                await self._write_archive([before, *archived])
        elif not found.is_stored:
            found.is_stored = True
            others = [before] if before is not None else []
            if found.real is not ours:
                others = [ours]
            await self._write_archive([*others, *found.rest], ours)
            ours = found.real
        elif found.real is not ours:
            # The library still holds the session that turned out to be the old one.
            archived = await self._archive(jid, device_id)
            await self._write_archive([ours, *archived[1:]])
            return
        row = self._row(jid, device_id)
        text = await self._write(row, jid, ours)
        self._live[row] = text, ours
        if len(self._live) > _LIVE:
            del self._live[next(iter(self._live))]

    async def encrypt_key_material(
        self, session: Session, plain_key_material: PlainKeyMaterial
    ) -> EncryptedT:
        """Encrypt; whether it may leave is for the epoch to say.

        A session that is then not stored will be read anew.
        """
        self._epoch.is_mute = await self.is_retired(session)
        self._put_aside(session)
        return await self._encrypt(session, plain_key_material)

    async def decrypt_key_material(
        self, session: Session, encrypted_key_material: EncryptedKeyMaterial
    ) -> PlainT:
        """Decrypt with the session in use, or with one that was replaced.

        The one that fits is in use from then on, so that both sides end up with
        the same. A session that does not fit is not changed by the attempt.
        """
        self._put_aside(session)
        try:
            return await self._decrypt(session, encrypted_key_material)
        except omemo.DecryptionFailed as failure:
            if isinstance(failure.__cause__, doubleratchet.DuplicateMessageException):
                raise
            current = self._own_type(session)
            archived = await self._archive(current.bare_jid, current.device_id)
            for old in archived:
                try:
                    material = await self._decrypt(old, encrypted_key_material)
                except omemo.DecryptionFailed:
                    continue
                if await self._is_superseded(old):
                    await self._rewrite_archived(old)
                    return material
                rest = [other for other in archived if other is not old]
                self._found = _Found(current, old, rest)
                return material
            raise

    async def _take_up(
        self,
        bare_jid: str,
        device_id: int,
        key_exchange: KeyExchange,
        encrypted_key_material: EncryptedKeyMaterial,
    ) -> tuple[SessionT, PlainT] | None:
        """Decrypt with the replaced session that a key exchange began, if any."""
        archived = await self._archive(bare_jid, device_id)
        for session in archived:
            if session.initiation is Initiation.PASSIVE and (
                session.key_exchange.builds_same_session(key_exchange)
            ):
                material = await self._decrypt(session, encrypted_key_material)
                if await self._is_superseded(session):
                    return session, material
                rest = [other for other in archived if other is not session]
                self._found = _Found(session, session, rest)
                return session, material
        return None

    def _put_aside(self, session: Session) -> None:
        """Have a session read anew unless it is stored: it is about to change."""
        self._live.pop(self._row(session.bare_jid, session.device_id), None)

    async def _replaced(self, ours: SessionT) -> SessionT | None:
        """Return the session in use, if another is about to take its place."""
        jid, device_id = ours.bare_jid, ours.device_id
        row, origin = self._row(jid, device_id), self._ratchet(ours).origin
        text = await self._storage.load_text(row)
        if text is not None and text.startswith(f"[{origin}"):
            return None
        before = await self._read(jid, device_id, row)
        if before is None:
            await self._note_device(jid, device_id)
        elif self._ratchet(before).origin == origin:
            return None
        return before

    # --- sessions that an old copy of the store brought back ----------------------

    async def _note_begun(self, session: SessionT) -> None:
        self._epoch.is_mute = False
        place = f"{self.namespace}/{session.bare_jid}/{session.device_id}"
        await self._epoch.note(place, self._ephemeral_key(session))

    async def is_retired(self, session: Session) -> bool:
        """Tell whether a session must not be sent with."""
        if not await self._epoch.is_on():
            return False
        place = f"{self.namespace}/{session.bare_jid}/{session.device_id}"
        return await self._epoch.is_retired(place, self._ephemeral_key(session))

    async def _is_superseded(self, session: SessionT) -> bool:
        """Tell whether a session is retired, and another one is in use instead."""
        if not await self.is_retired(session):
            return False
        jid, device_id = session.bare_jid, session.device_id
        current = await self._read(jid, device_id, self._row(jid, device_id))
        return current is not None and not await self.is_retired(current)

    async def _rewrite_archived(self, session: SessionT) -> None:
        """Keep what has become of a session that was replaced, where it is."""
        archived = await self._archive(session.bare_jid, session.device_id)
        origin = self._ratchet(session).origin
        is_same = [self._ratchet(other).origin == origin for other in archived]
        kept = [
            session if same else other
            for same, other in zip(is_same, archived, strict=True)
        ]
        await self._write_archive(kept, session)

    # --- sessions that were replaced ----------------------------------------------

    async def _archive(self, bare_jid: str, device_id: int) -> list[SessionT]:
        """Return the sessions that were replaced, the newest first."""
        archived = []
        for slot in range(_ARCHIVED):
            place = _place(bare_jid, slot)
            row = self._row(place, device_id)
            session = await self._read(bare_jid, device_id, row, place)
            if session is not None:
                archived.append(session)
        return archived

    async def _write_archive(
        self, sessions: Sequence[SessionT], owner: SessionT | None = None
    ) -> None:
        """Keep these sessions, as far as there is room, and no others.

        Args:
            sessions: The newest first.
            owner: A session of the same device, in case there are none.
        """
        one = owner or sessions[0]
        jid, device_id = one.bare_jid, one.device_id
        for slot in range(_ARCHIVED):
            place = _place(jid, slot)
            row = self._row(place, device_id)
            if slot < len(sessions):
                await self._write(row, place, sessions[slot])
            else:
                await self._storage.delete(row)
                await self._delete_old(place, device_id)
        for session in sessions[_ARCHIVED:]:
            skipped = self._ratchet(session).skipped
            for number in range(skipped.first, skipped.end):
                await self._storage.delete(self._piece(session, number))

    # --- rows ---------------------------------------------------------------------

    async def _read(
        self, bare_jid: str, device_id: int, row: str, place: str | None = None
    ) -> SessionT | None:
        """Return the session of a row, from memory if it is there; None if none is."""
        text = await self._storage.load_text(row)
        if text is None:
            found = await self._load_old(place or bare_jid, device_id)
            return None if found is None else self._lasting(found, bare_jid)
        live = self._live.get(row)
        if live is not None and live[0] == text:
            return live[1]
        session = self._read_session(bare_jid, device_id, text)
        skipped = self._ratchet(session).skipped
        for number in range(skipped.first, skipped.end):
            piece = await self._storage.load_text(self._piece(session, number))
            if piece is not None:
                skipped.load(number, piece)
        if place is None:
            self._live[row] = text, session
        return session

    async def _write(self, row: str, place: str, session: SessionT) -> str:
        """Write what changed of a session; return the text of its row."""
        storage, ratchet = self._storage, self._ratchet(session)
        state = ratchet.write(self.max_num_per_session_skipped_keys)
        text = join(ratchet.origin, state, confirmed=session.confirmed)
        for number, piece in ratchet.skipped.take_changed():
            name = self._piece(session, number)
            if piece is None:
                await storage.delete(name)
            else:
                await storage.store_text(name, piece)
        if await storage.load_text(row) is None:
            await self._delete_old(place, session.device_id)
        await storage.store_text(row, text)
        return text

    async def _note_device(self, bare_jid: str, device_id: int) -> None:
        """Bound the number of devices that we keep sessions with."""
        name = f"/{self.namespace}/{bare_jid}/device_ids"
        devices = (await self._storage.load_list(name, int)).maybe([])
        kept = [*(one for one in devices if one != device_id), device_id]
        for oldest in kept[:-_DEVICES]:
            await self.delete_session(bare_jid, oldest)
        await self._storage.store(name, [*kept[-_DEVICES:]])

    async def delete_session(self, bare_jid: str, device_id: int) -> None:
        """Forget the sessions with a device, those that were replaced too."""
        self.deletions += 1
        places = [bare_jid, *(_place(bare_jid, slot) for slot in range(_ARCHIVED))]
        for place in places:
            await self._delete_all(f"/{self.namespace}/{place}/{device_id}/")

    async def purge_bare_jid(self, bare_jid: str) -> None:
        """Forget all sessions with a JID."""
        await self._delete_all(f"/{self.namespace}/{bare_jid}/")

    async def purge(self) -> None:
        """Forget all sessions and keys of this namespace."""
        await self._delete_all(f"/{self.namespace}/")

    async def _delete_all(self, start: str) -> None:
        for name in await self._storage.names(start):
            await self._storage.delete(name)

    async def _delete_old(self, place: str, device_id: int) -> None:
        """Delete the rows that the library wrote for a session."""
        if await self._storage.load_text(self._old(place, device_id)) is not None:
            start = f"/{self.namespace}/{place}/{device_id}/"
            for part in _OLD_PARTS:
                await self._storage.delete(start + part)

    def _row(self, place: str, device_id: int) -> str:
        return f"/{self.namespace}/{place}/{device_id}/session"

    def _old(self, place: str, device_id: int) -> str:
        return f"/{self.namespace}/{place}/{device_id}/double_ratchet"

    def _piece(self, session: SessionT, number: int) -> str:
        """Return where a piece of the skipped keys is, wherever the session is."""
        whose = sha256(self._ratchet(session).origin.encode()).hexdigest()[:16]
        start = f"/{self.namespace}/{session.bare_jid}/{session.device_id}"
        return f"{start}/skipped/{whose}/{number}"


@dataclass(slots=True)
class _Found(Generic[SessionT]):
    """A replaced session that turned out to be the one that the peer uses.

    Attributes:
        held: The session that the library holds and will store.
        real: The one that was found.
        rest: The other replaced ones.
        is_stored: Whether this was written.
    """

    held: SessionT
    real: SessionT
    rest: list[SessionT]
    is_stored: bool = False


def _place(bare_jid: str, slot: int) -> str:
    """Return where the row of a replaced session is."""
    return f"{bare_jid}/archive/{slot}"
