"""This device: its identity, its keys, and the library's session manager."""

import asyncio
import secrets
import time
from collections.abc import Callable

import xeddsa
from omemo import SignedLabel
from omemo.session_manager import SessionManager

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Bundle
from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.session_manager import (
    NEW,
    Door,
    fingerprint_of,
    session_manager_class,
)
from xmpp_onion.e2ee.trust import TrustLevel
from xmpp_onion.e2ee.versions import OMEMO_2, OMEMO_OLD
from xmpp_onion.errors import EncryptionError

__all__ = ["OwnDevice"]

# XEP-0384, section 5.2: between once a week and once a month. Seconds.
_SIGNED_PRE_KEY_LIFETIME = 7 * 24 * 3600
# Seconds between two looks at the age of the signed pre-key.
_ROTATION_CHECK = 3600.0


class OwnDevice:
    """The OMEMO device of this store, made when it is first opened.

    Args:
        own: The account, bare.
        door: The library's way to keys and network.
        clock: Seconds that only go forward.

    Attributes:
        backends: The library's keys and sessions by namespace, the newest first;
            inside transactions.
        is_reading_history: Used pre-keys are kept, and answers wait.
    """

    def __init__(
        self, own: JID, door: Door, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.backends: dict[str, LocalTwomemo | LocalOldmemo] = {
            OMEMO_2: LocalTwomemo(door.storage, door.epoch),
            OMEMO_OLD: LocalOldmemo(door.storage, door.epoch),
        }
        self._own = own
        self._door = door
        self._clock = clock
        self._manager: SessionManager | None = None
        self.is_reading_history = False
        self._identity: tuple[int, str] | None = None
        self._next_check = 0.0

    @property
    def device_id(self) -> int:
        """Its number in the account's device list."""
        return self._known_identity[0]

    @property
    def fingerprint(self) -> str:
        """What contacts compare: 64 hex digits."""
        return self._known_identity[1]

    @property
    def _known_identity(self) -> tuple[int, str]:
        if self._identity is None:
            raise RuntimeError("call prepare() first")
        return self._identity

    async def open(self) -> SessionManager:
        """Return the session manager, made anew after :meth:`drop`. In a transaction.

        The first time, this draws the identity key, a device id that is not in
        the account's list and its pre-keys.
        """
        if self._manager is None:
            self._manager = await self._make()
        await self._rotate()
        return self._manager

    def drop(self) -> None:
        """Forget the session manager; it may know what a roll-back has undone."""
        self._manager = None
        self._door.records.forget()
        for backend in self.backends.values():
            backend.forget()
        self._next_check = 0.0

    def begin_history(self) -> None:
        """Keep used pre-keys from now on, also those of a session manager made anew."""
        self.is_reading_history = True
        if self._manager is not None:
            self._manager.before_history_sync()

    async def end_history(self) -> SessionManager:
        """Delete the used pre-keys and let answers go out. In a transaction."""
        self.is_reading_history = False
        manager = await self.open()
        await manager.after_history_sync()
        return manager

    @property
    def deletions(self) -> int:
        """How many sessions were deleted; what was known of them before is void."""
        return sum(backend.deletions for backend in self.backends.values())

    async def has_session(self, namespace: str, jid: str, device_id: int) -> bool:
        """Tell whether there is a session with a device; also outside transactions."""
        return await self.backends[namespace].has_session(jid, device_id)

    async def may_send(self, namespace: str, jid: str, device_id: int) -> bool:
        """Tell whether there is one to send with; also outside transactions."""
        return await self.backends[namespace].may_send(jid, device_id)

    async def bundle(self, namespace: str) -> Bundle:
        """Return our bundle as others see it. In a transaction."""
        return await self.backends[namespace].get_bundle(self._own, self.device_id)

    async def label(self) -> str | None:
        """Return what the user calls this device, if anything."""
        return (await self._door.storage.load_optional(self._label_place, str)).maybe(
            None
        )

    async def set_label(self, label: str | None) -> None:
        """Call this device something; everybody can read it. In a transaction."""
        await self._door.storage.store(self._label_place, label)
        self._door.upload_device_list(OMEMO_2)

    async def signed_label(self, namespace: str) -> SignedLabel | None:
        """Return our label as a device list of a version carries it, if it does."""
        label, backend = await self.label(), self.backends[namespace]
        if label is None or not backend.supports_labels:
            return None
        return SignedLabel(label, await backend.sign_own_label(label))

    @property
    def _label_place(self) -> str:
        # Not the library's place for it, which it fills with what is published: the
        # name would be gone if a login came before it was.
        return f"/xmpp-onion/label/{self.device_id}"

    async def note_published(self, bundle: Bundle) -> None:
        """Note that others see this bundle from now on. In a transaction."""
        await self.backends[bundle.namespace].note_published(bundle)

    async def _make(self) -> SessionManager:
        self._door.refused.clear()
        await self._draw_identity()
        manager = await session_manager_class(self._door).create(
            [*self.backends.values()],
            self._door.storage,
            self._own,
            initial_own_label=None,
            undecided_trust_level_name=NEW,
        )
        # Its task would write to the store at any time; _rotate does its work.
        await _shut_down(manager)
        if not self.is_reading_history:
            await manager.after_history_sync()
        info, _ = await manager.get_own_device_information()
        owner = await self._door.claim(info.identity_key, self._own)
        if owner != self._own:
            raise EncryptionError(
                "this account cannot encrypt",
                why="its own identity key is pinned for another JID",
                fix="Remove that pin from the account's configuration.",
            )
        if info.trust_level_name != TrustLevel.TRUSTED.name:
            # Nobody has to decide about this very device, or be told of it.
            level = TrustLevel.TRUSTED.name
            await manager.set_trust(self._own, info.identity_key, level)
        self._identity = info.device_id, fingerprint_of(info.identity_key)
        return manager

    async def _draw_identity(self) -> None:
        """Draw the identity key, one whose Ed25519 form has a clear sign bit.

        Some clients refuse the signatures of the others.
        """
        storage = self._door.storage
        if (await storage.load("/ikp/key")).is_just:
            return
        seed = secrets.token_bytes(32)
        while xeddsa.seed_to_ed25519_pub(seed)[31] & 0x80:
            seed = secrets.token_bytes(32)
        await storage.store("/ikp/is_seed", value=True)
        await storage.store_bytes("/ikp/key", seed)

    async def _rotate(self) -> None:
        """Replace the signed pre-key when it is old enough."""
        now = self._clock()
        if now < self._next_check:
            return
        self._next_check = now + _ROTATION_CHECK
        for namespace, backend in self.backends.items():
            if await backend.signed_pre_key_age() > _SIGNED_PRE_KEY_LIFETIME:
                await backend.rotate_signed_pre_key()
                # Gives the new key its number, in this transaction.
                await self.bundle(namespace)
                await self._door.upload_bundle(namespace)


async def _shut_down(manager: SessionManager) -> None:
    """End the library's task, and heed who ends ours meanwhile.

    The library swallows every cancellation while it waits for its task.
    """
    ours = asyncio.current_task()
    assert ours is not None  # noqa: S101 - for mypy: a coroutine runs in a task
    before = ours.cancelling()
    await manager.shutdown()
    if ours.cancelling() > before:
        raise asyncio.CancelledError
