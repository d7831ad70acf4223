"""A server of device lists and bundles in memory, for tests without a network."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from xmpp_onion.address import JID
from xmpp_onion.e2ee.devices import Bundle, DeviceIds
from xmpp_onion.errors import DeviceListError

__all__ = ["FakePep", "FakePepServer"]


@dataclass
class FakePepServer:
    """What all accounts have published; tests read and change it.

    Attributes:
        lists: Device ids by bare JID.
        bundles: By bare JID and device id.
        nodes: The name of every node that was ever published to.
        can_watch: Whether subscriptions are accepted.
    """

    lists: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bundles: dict[tuple[str, int], Bundle] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    can_watch: bool = True
    watchers: list["FakePep"] = field(default_factory=list)

    def push(self, jid: JID, ids: Collection[int]) -> None:
        """Replace a device list and tell everybody who watches it."""
        self.lists[jid.bare] = tuple(ids)
        for pep in self.watchers:
            pep.receive(jid.bare, tuple(ids))


class FakePep:
    """The :class:`~xmpp_onion.e2ee.devices.Pep` of one account on a fake server.

    Attributes:
        requests: Every request so far, as ``verb jid [device id]``.
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
        self._watched: set[str] = set()
        self._changed: Callable[[JID, tuple[int, ...]], None] | None = None
        server.watchers.append(self)

    def watch(self, changed: Callable[[JID, tuple[int, ...]], None]) -> None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.watch`."""
        self._changed = changed

    def receive(self, jid: JID, ids: tuple[int, ...]) -> None:
        """Take a push of the server."""
        if self._changed and (jid in self._watched or jid == self.own):
            self._changed(jid, ids)

    async def fetch_device_list(self, jid: JID) -> DeviceIds:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.fetch_device_list`."""
        await self._request(f"list {jid}")
        can_watch = jid == self.own or (
            self.server.can_watch and jid in self.server.lists
        )
        if can_watch:
            self._watched.add(jid)
        return DeviceIds(self.server.lists.get(jid, ()), can_watch)

    async def fetch_bundle(self, jid: JID, device_id: int) -> Bundle | None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.fetch_bundle`."""
        await self._request(f"bundle {jid} {device_id}")
        return self.server.bundles.get((jid, device_id))

    async def publish_bundle(self, bundle: Bundle) -> None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.publish_bundle`."""
        await self._request(f"publish {self.own} {bundle.device_id}")
        self.server.bundles[self.own, bundle.device_id] = bundle
        self.server.nodes.add(f"{bundle.namespace}.bundles:{bundle.device_id}")

    async def publish_device_list(self, ids: Collection[int]) -> None:
        """See :meth:`xmpp_onion.e2ee.devices.Pep.publish_device_list`."""
        await self._request(f"publish {self.own}")
        self.server.push(self.own, ids)

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
