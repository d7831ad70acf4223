"""A server of device lists and bundles in memory, for tests without a network."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Bundle, Changed, DeviceList, Listing
from xmpp_onion.e2ee.versions import (
    NAMESPACES,
    OMEMO_OLD,
    bundle_node,
    list_node,
)
from xmpp_onion.errors import DeviceListError

__all__ = ["FakePep", "FakePepServer"]


@dataclass
class FakePepServer:
    """What all accounts have published; tests read and change it.

    Attributes:
        lists: Device lists by namespace and bare JID.
        bundles: By namespace, bare JID and device id.
        nodes: The name of every node that was ever published to.
        hidden: The bare JIDs that show their nodes to contacts only.
        can_watch: Whether subscriptions are accepted.
        versions: The namespaces that accounts see of each other: as if nobody
            spoke the others.
        keeps_closed: The nodes that it refuses to open.
        watchers: The accounts, which are told of changes.
    """

    lists: dict[tuple[str, str], DeviceList] = field(default_factory=dict)
    bundles: dict[tuple[str, str, int], Bundle] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    can_watch: bool = True
    versions: tuple[str, ...] = NAMESPACES
    keeps_closed: set[str] = field(default_factory=set)
    watchers: list["FakePep"] = field(default_factory=list)

    @property
    def newest(self) -> str:
        """The namespace that accounts speak with each other."""
        return self.versions[0]

    def put(
        self,
        jid: JID,
        ids: Collection[int] | DeviceList,
        namespaces: Collection[str] = NAMESPACES,
    ) -> None:
        """Replace device lists, and tell nobody.

        Args:
            jid: Whose.
            ids: Device ids, perhaps with labels.
            namespaces: In which versions; in both by default.
        """
        for namespace in namespaces:
            devices = dict(ids) if isinstance(ids, dict) else dict.fromkeys(ids)
            self.lists[namespace, jid.bare] = devices

    def push(
        self,
        jid: JID,
        ids: Collection[int] | DeviceList,
        namespaces: Collection[str] = NAMESPACES,
    ) -> None:
        """Replace device lists, and tell everybody who watches them."""
        self.put(jid, ids, namespaces)
        for namespace in namespaces:
            for pep in self.watchers:
                pep.receive(namespace, jid.bare, self.lists[namespace, jid.bare])

    def ids(self, jid: JID, namespace: str = OMEMO_OLD) -> tuple[int, ...]:
        """Return the device ids that an account has listed in a version."""
        return tuple(self.lists.get((namespace, jid.bare), {}))


class FakePep:
    """The :class:`~xmpp_onion.e2ee.devices.Pep` of one account on a fake server.

    Attributes:
        requests: Every request so far, as ``verb namespace jid [device id]``.
        flights: How many times requests were sent while none was on its way.
        most_at_once: How many requests were on their way at the same time.
        failures: As many of the next requests will fail.
    """

    def __init__(self, own: JID, server: FakePepServer) -> None:
        self.own = own.bare
        self.server = server
        self.requests: list[str] = []
        self.flights = 0
        self.most_at_once = 0
        self.failures = 0
        self._on_their_way = 0
        self._watched: set[tuple[str, str]] = set()
        self._changed: Changed | None = None
        server.watchers.append(self)

    def watch(self, changed: Changed) -> None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.watch`."""
        self._changed = changed

    def receive(self, namespace: str, jid: JID, devices: DeviceList) -> None:
        """Take a push of the server."""
        if (
            self._changed
            and self._is_shown(namespace, jid)
            and ((namespace, jid) in self._watched or jid == self.own)
        ):
            self._changed(namespace, jid, devices)

    async def fetch_device_list(self, namespace: str, jid: JID) -> Listing:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.fetch_device_list`."""
        await self._request(f"list {namespace} {jid}")
        if self._is_hidden(jid):
            return Listing({}, is_hidden=True)
        key = (namespace, jid.bare)
        if not self._is_shown(namespace, jid):
            return Listing({})
        can_watch = jid == self.own or (
            self.server.can_watch and key in self.server.lists
        )
        if can_watch:
            self._watched.add(key)
        return Listing(dict(self.server.lists.get(key, {})), is_watched=can_watch)

    async def fetch_bundle(
        self, namespace: str, jid: JID, device_id: int
    ) -> Bundle | None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.fetch_bundle`."""
        await self._request(f"bundle {namespace} {jid} {device_id}")
        if self._is_hidden(jid) or not self._is_shown(namespace, jid):
            return None
        return self.server.bundles.get((namespace, jid, device_id))

    def _is_shown(self, namespace: str, jid: JID) -> bool:
        return jid == self.own or namespace in self.server.versions

    def _is_hidden(self, jid: JID) -> bool:
        return jid in self.server.hidden and jid != self.own

    async def publish_bundle(self, bundle: Bundle) -> None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.publish_bundle`."""
        namespace, device_id = bundle.namespace, bundle.device_id
        await self._request(f"publish {namespace} {self.own} {device_id}")
        self.server.bundles[namespace, self.own, device_id] = bundle
        self.server.nodes.add(bundle_node(namespace, device_id)[0])

    async def publish_device_list(self, namespace: str, devices: DeviceList) -> None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.publish_device_list`."""
        await self._request(f"publish {namespace} {self.own}")
        self.server.nodes.add(list_node(namespace)[0])
        self.server.push(self.own, devices, [namespace])

    async def open_node(self, name: str) -> bool:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.open_node`."""
        await self._request(f"open {name}")
        return name not in self.server.keeps_closed

    async def _request(self, what: str) -> None:
        if not self._on_their_way:
            self.flights += 1
        self._on_their_way += 1
        self.most_at_once = max(self.most_at_once, self._on_their_way)
        self.requests.append(what)
        try:
            for _ in range(5):  # others in the same flight start meanwhile
                await asyncio.sleep(0)
        finally:
            self._on_their_way -= 1
        if self.failures:
            self.failures -= 1
            raise DeviceListError("a request failed", why="the test wants it")
