"""Device lists and bundles on XMPP servers: fetch, publish, watch (XEP-0163).

:class:`Pep` is the seam: :class:`SlixmppPep` is the real one, and
``xmpp_onion.testing.FakePep`` a server in memory. What is kept of their
answers, and for how long, is the matter of :mod:`xmpp_onion.e2ee.directory`.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import slixmpp
from omemo import DeviceList
from omemo.bundle import Bundle

from xmpp_onion.address import JID
from xmpp_onion.e2ee.nodes import Asked, HiddenNodeError, Nodes
from xmpp_onion.e2ee.versions import (
    NAMESPACES,
    OMEMO_2,
    bundle_node,
    list_node,
    read_bundle,
    read_device_list,
    write_bundle,
    write_device_list,
)
from xmpp_onion.errors import DeviceListError, InvalidJIDError

__all__ = ["Bundle", "Changed", "DeviceList", "Listing", "Pep", "SlixmppPep"]

log = logging.getLogger(__name__)

Changed = Callable[[str, JID, DeviceList], None]
"""Told of a pushed device list: namespace, whose, what."""


class Listing(NamedTuple):
    """A device list as the server gave it.

    Attributes:
        devices: Labels by device id, in the order of the list; not checked.
        is_watched: Whether changes will be told, so that nobody has to ask again
            as long as this session lives.
        is_hidden: Whether the owner shows it to contacts only, and not to us.
    """

    devices: DeviceList
    is_watched: bool = False
    is_hidden: bool = False


class Pep(Protocol):
    """What :class:`~xmpp_onion.e2ee.omemo.Omemo` needs of an XMPP session.

    Every method is one flight: the requests that it needs travel together.
    All raise DeviceListError when the server does not answer; a retry may help.
    """

    def watch(self, changed: Changed) -> None:
        """Call ``changed`` for every device list that a server pushes."""

    async def fetch_device_list(self, namespace: str, jid: JID) -> Listing:
        """Subscribe to a device list and fetch it; empty if there is none."""

    async def fetch_bundle(
        self, namespace: str, jid: JID, device_id: int
    ) -> Bundle | None:
        """Fetch a bundle; None if there is none, or it cannot be read."""

    async def publish_bundle(self, bundle: Bundle) -> None:
        """Publish our bundle, readable by anybody."""

    async def publish_device_list(self, namespace: str, devices: DeviceList) -> None:
        """Publish our account's device list, readable by anybody."""

    async def open_node(self, name: str) -> bool:
        """See that everybody may read a node of ours; False if that is refused."""


class SlixmppPep:
    """The real one, over a slixmpp client.

    Make it before the client connects: the interest in device lists is part of
    the first presence.
    """

    def __init__(self, xmpp: slixmpp.ClientXMPP) -> None:
        for plugin in ("xep_0004", "xep_0030", "xep_0060", "xep_0115", "xep_0163"):
            if plugin not in xmpp.plugin:
                xmpp.register_plugin(plugin)
        self._own = JID(xmpp.boundjid.bare)
        self._nodes = Nodes(xmpp)
        self._changed: Changed = _ignore
        self._asked: dict[str, Asked] = {}
        for namespace in NAMESPACES:
            name, _ = list_node(namespace)
            event = f"omemo_devices_{namespace}"
            xmpp.plugin["xep_0060"].map_node_event(name, event)
            xmpp.plugin["xep_0163"].add_interest(name)
            xmpp.add_event_handler(
                f"{event}_publish", partial(self._on_publish, namespace)
            )

    def watch(self, changed: Changed) -> None:
        """See :meth:`Pep.watch`."""
        self._changed = changed

    def ask_ahead(self) -> None:
        """Send the questions for our own lists with the next login.

        The next fetch of each takes the answer.
        """
        self._asked = {
            namespace: self._nodes.ask(self._own, list_node(namespace), newest=True)
            for namespace in NAMESPACES
        }

    def forget_asked(self) -> None:
        """Ask anew: what was asked ahead was of another stream."""
        self._asked.clear()

    async def fetch_device_list(self, namespace: str, jid: JID) -> Listing:
        """See :meth:`Pep.fetch_device_list`."""
        node = list_node(namespace)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._subscribe(jid, node[0]))
            listing = group.create_task(self._download(namespace, jid))
        found = listing.result()
        if isinstance(found, DeviceListError):
            raise found
        return found._replace(is_watched=watching.result())

    async def _download(self, namespace: str, jid: JID) -> Listing | DeviceListError:
        """Return a device list, or the error: in a task it would become a group."""
        try:
            asked = self._asked.pop(namespace, None) if jid.bare == self._own else None
            element = await self._nodes.fetch(
                jid, list_node(namespace), newest=True, asked=asked
            )
            if element is None:
                return Listing({})
            return Listing(read_device_list(namespace, element))
        except HiddenNodeError:
            return Listing({}, is_hidden=True)
        except DeviceListError as error:
            return error
        except ValueError:
            log.warning("the device list of %s is malformed", jid.short)
            return Listing({})

    async def _subscribe(self, jid: JID, name: str) -> bool:
        if jid.bare == self._own:
            return True  # the server tells an account about itself (XEP-0163, 4.3.4)
        is_watched = await self._nodes.subscribe(jid, name)
        if not is_watched:
            log.debug("no subscription to the device list of %s", jid.short)
        return is_watched

    async def fetch_bundle(
        self, namespace: str, jid: JID, device_id: int
    ) -> Bundle | None:
        """See :meth:`Pep.fetch_bundle`."""
        node = bundle_node(namespace, device_id)
        try:
            element = await self._nodes.fetch(jid, node, newest=namespace != OMEMO_2)
            if element is not None:
                return read_bundle(namespace, element, jid, device_id)
        except (HiddenNodeError, ValueError):
            log.warning("device %d of %s has no usable bundle", device_id, jid.short)
        return None

    async def publish_bundle(self, bundle: Bundle) -> None:
        """See :meth:`Pep.publish_bundle`."""
        await self._nodes.publish(
            bundle_node(bundle.namespace, bundle.device_id),
            write_bundle(bundle),
            # One node for the bundles of all devices, or one for each.
            max_items="max" if bundle.namespace == OMEMO_2 else "1",
        )

    async def publish_device_list(self, namespace: str, devices: DeviceList) -> None:
        """See :meth:`Pep.publish_device_list`."""
        element = write_device_list(namespace, devices)
        await self._nodes.publish(list_node(namespace), element, max_items="1")

    async def open_node(self, name: str) -> bool:
        """See :meth:`Pep.open_node`."""
        if await self._nodes.access_model(name) == "open":
            return True
        return await self._nodes.open(name)

    def _on_publish(self, namespace: str, message: slixmpp.Message) -> None:
        """Pass on a list that a server pushed; a malformed one changes nothing."""
        items = message["pubsub_event"]["items"]
        element = next(iter(items["item"].xml), None)
        if len(items) != 1 or element is None:
            return
        try:
            jid = JID(message["from"].bare)
            devices = read_device_list(namespace, element)
        except (ValueError, InvalidJIDError):
            return
        self._changed(namespace, jid, devices)


def _ignore(_namespace: str, _jid: JID, _devices: DeviceList) -> None:
    """Stand in until somebody watches."""
