"""What others find of this device: its bundles, and its place in the device lists."""

import asyncio
import logging
from collections.abc import Collection

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Bundle, DeviceList, Pep
from xmpp_onion.e2ee.directory import Directory, together
from xmpp_onion.e2ee.effect import CheckNodes, Effect, UploadBundle, UploadDeviceList
from xmpp_onion.e2ee.own_device import OwnDevice
from xmpp_onion.e2ee.session_manager import Door, unpublished
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.e2ee.versions import (
    NAMESPACES,
    OMEMO_OLD,
    bundle_node,
    list_node,
)
from xmpp_onion.store import Database, Keys

__all__ = ["Publisher", "closed_nodes"]

log = logging.getLogger(__name__)


class Publisher:
    """Puts this device where others find it, and keeps it there.

    Args:
        own: Our account, bare.
        device: This device.
        door: What the library wants from the network.
        directory: The device lists as we know them.
        pep: The way to the server.
    """

    def __init__(
        self, own: JID, device: OwnDevice, door: Door, *, directory: Directory, pep: Pep
    ) -> None:
        self._own = own
        self._device = device
        self._door = door
        self._directory = directory
        self._pep = pep
        self._is_withdrawn = False
        # A list is read, changed and published by one at a time: who published what
        # he had read before another one did would undo that.
        self._turns = {namespace: asyncio.Lock() for namespace in NAMESPACES}

    async def missing(self) -> list[str]:
        """Return the versions that were never published. In a transaction.

        For those that were, an older bundle on the server becomes an effect.
        """
        self._is_withdrawn = False
        storage = self._door.storage
        never, unchecked = [], []
        for namespace in NAMESPACES:
            if not (await storage.load(_published(namespace))).is_just:
                never.append(namespace)
                continue
            is_outdated = (await storage.load(unpublished(namespace))).is_just
            if is_outdated or UploadDeviceList(namespace) in self._door.effects:
                await self._door.upload_bundle(namespace)
            if not (await storage.load(_closed(namespace))).is_just:
                unchecked.append(namespace)
        self._ask_for_check(unchecked)
        self._door.effects[:] = [e for e in self._door.effects if not _is_of(e, never)]
        return never

    async def publish(self, namespaces: Collection[str], database: Database) -> None:
        """Publish this device for the first time. NETWORK, one flight."""
        async with database.transaction():
            bundles = [await self._device.bundle(one) for one in namespaces]
        # Bundles, then lists: who sees a list finds the bundle. In one flight,
        # because a stream keeps the order.
        await together(
            *(self._pep.publish_bundle(bundle) for bundle in bundles),
            *(self.upload_device_list(namespace) for namespace in namespaces),
        )
        async with database.transaction():
            for bundle in bundles:
                await self._door.storage.store(_published(bundle.namespace), "yes")
                await self._note_uploaded(bundle)
            self._ask_for_check(namespaces)

    def _ask_for_check(self, namespaces: Collection[str]) -> None:
        if namespaces:
            self._door.effects.append(CheckNodes(" ".join(namespaces)))

    async def upload_bundle(self, namespace: str, database: Database) -> None:
        """Publish our newest bundle. NETWORK, and transactions of its own."""
        # Read when it goes out: an older one would offer used-up pre-keys.
        async with database.transaction():
            bundle = await self._device.bundle(namespace)
        await self._pep.publish_bundle(bundle)
        async with database.transaction():
            await self._note_uploaded(bundle)

    async def _note_uploaded(self, bundle: Bundle) -> None:
        """Note that the server has our newest bundle, unless it changed meanwhile."""
        await self._device.note_published(bundle)
        if await self._device.bundle(bundle.namespace) == bundle:
            await self._door.storage.delete(unpublished(bundle.namespace))

    async def refresh_device_list(self, namespace: str) -> None:
        """Fetch our device list and put this device into it. NETWORK."""
        async with self._turns[namespace]:
            found = await self._pep.fetch_device_list(namespace, self._own)
            self._directory.keep(namespace, self._own, found.devices)
            await self._add_this(namespace)

    async def upload_device_list(self, namespace: str) -> None:
        """Add this device, as it is called now, to whatever the list holds. NETWORK."""
        async with self._turns[namespace]:
            await self._add_this(namespace)

    async def _add_this(self, namespace: str) -> None:
        if self._is_withdrawn:
            return
        before = self._directory.lists[namespace, self._own]
        label = await self._device.signed_label(namespace)
        now: DeviceList = {**before, self._device.device_id: label}
        if now != before:
            await self._pep.publish_device_list(namespace, now)
            self._directory.keep(namespace, self._own, now)

    async def remove(self, device_id: int) -> None:
        """Take a device out of our lists. NETWORK.

        This very one comes back with the next login, and not before.
        """
        if device_id == self._device.device_id:
            self._is_withdrawn = True
        for namespace in NAMESPACES:
            async with self._turns[namespace]:
                found = await self._pep.fetch_device_list(namespace, self._own)
                left = {i: name for i, name in found.devices.items() if i != device_id}
                if left != found.devices:
                    await self._pep.publish_device_list(namespace, left)
                self._directory.keep(namespace, self._own, left)

    async def check_nodes(
        self, namespaces: Collection[str], database: Database
    ) -> None:
        """See that strangers can read our nodes; once in a device's life. NETWORK.

        One flight, or two. A server may ignore how a node was to be made. What it
        then refuses to open stays closed: contacts can write to us, strangers cannot.
        """
        device_id = self._device.device_id
        nodes = {
            name: namespace
            for namespace in namespaces
            for name, _ in (list_node(namespace), bundle_node(namespace, device_id))
        }
        closed: list[str] = []

        async def check(name: str) -> None:
            if not await self._pep.open_node(name):
                closed.append(name)

        await together(*(check(name) for name in nodes))
        for name in closed:
            log.warning(
                "the server keeps %s closed: strangers cannot write to us", name
            )
        async with database.transaction():
            for namespace in namespaces:
                found = [name for name in closed if nodes[name] == namespace]
                await self._door.storage.store(_closed(namespace), [*found])


async def closed_nodes(keys: Keys) -> tuple[str, ...]:
    """Return the nodes of ours that the server refused to open, as last checked.

    Strangers cannot find this device there; contacts can.
    """
    storage = KeyStorage(keys)
    found = [
        await storage.load_list(_closed(namespace), str) for namespace in NAMESPACES
    ]
    return tuple(name for names in found for name in names.maybe([]))


def _published(namespace: str) -> str:
    """Return what is set when a version was published for the first time."""
    # The older version's was there first, without a name.
    suffix = "" if namespace == OMEMO_OLD else f"/{namespace}"
    return f"/xmpp-onion/published{suffix}"


def _closed(namespace: str) -> str:
    """Return where it is kept which nodes are closed, once that was checked."""
    return f"/xmpp-onion/closed-nodes/{namespace}"


def _is_of(effect: Effect, namespaces: Collection[str]) -> bool:
    return (
        isinstance(effect, UploadBundle | UploadDeviceList)
        and effect.payload in namespaces
    )
