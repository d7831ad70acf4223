"""Device lists and bundles on XMPP servers: fetch, publish, watch (XEP-0163).

:class:`Pep` is the seam: :class:`SlixmppPep` is the real one, and
``xmpp_onion.testing.FakePep`` a server in memory. What is kept of their
answers, and for how long, is the matter of :mod:`xmpp_onion.e2ee.directory`.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import oldmemo.etree
import slixmpp
from oldmemo.oldmemo import NAMESPACE
from omemo.bundle import Bundle
from omemo.session_manager import (
    BundleNotFound,
    XMPPInteractionFailed,
)
from slixmpp.exceptions import IqError, XMPPError
from slixmpp.xmlstream.xmlstream import NotConnectedError
from slixmpp_omemo.xep_0384 import OLDMEMO_DEVICE_LIST_NODE as DEVICE_LIST_NODE
from slixmpp_omemo.xep_0384 import XEP_0384, _make_session_manager

from xmpp_onion.address import JID
from xmpp_onion.errors import DeviceListError, InvalidJIDError

if TYPE_CHECKING:
    from slixmpp.basexmpp import BaseXMPP

__all__ = ["DEVICE_LIST_NODE", "Bundle", "DeviceIds", "Pep", "SlixmppPep"]

log = logging.getLogger(__name__)

# Seconds for one request. A round trip over two onion circuits takes one to
# five; a dead circuit is noticed by the session, not here.
_REQUEST_TIMEOUT = 60.0
_EVENT = "omemo_device_list"
# RFC 6120, section 8.3.3: refusals that may be none in a while. All others mean
# that there is nothing for us.
_TEMPORARY = {
    "internal-server-error",
    "remote-server-not-found",
    "remote-server-timeout",
    "resource-constraint",
    "undefined-condition",
}


class DeviceIds(NamedTuple):
    """A device list as the server gave it.

    Attributes:
        ids: In the order of the list; not checked.
        is_watched: Whether changes will be told, so that nobody has to ask again
            as long as this session lives.
    """

    ids: tuple[int, ...]
    is_watched: bool


class Pep(Protocol):
    """What :class:`~xmpp_onion.e2ee.omemo.Omemo` needs of an XMPP session.

    Every method is one flight: the requests that it needs travel together.
    All raise DeviceListError when the server does not answer; a retry may help.
    """

    def watch(self, changed: Callable[[JID, tuple[int, ...]], None]) -> None:
        """Call ``changed`` for every device list that a server pushes."""

    async def fetch_device_list(self, jid: JID) -> DeviceIds:
        """Subscribe to a device list and fetch it; empty if there is none."""

    async def fetch_bundle(self, jid: JID, device_id: int) -> Bundle | None:
        """Fetch a bundle; None if there is none, or it cannot be read."""

    async def publish_bundle(self, bundle: Bundle) -> None:
        """Publish our bundle, readable by anybody."""

    async def publish_device_list(self, ids: Collection[int]) -> None:
        """Publish our account's device list, readable by anybody."""


class SlixmppPep:
    """The real one, over a slixmpp client.

    Make it before the client connects: the interest in device lists is part of
    the first presence. Only ``eu.siacs.conversations.axolotl`` nodes are named;
    to announce ``urn:xmpp:omemo:2`` would invite messages that nobody here can
    read.
    """

    def __init__(self, xmpp: slixmpp.ClientXMPP) -> None:
        for plugin in ("xep_0030", "xep_0060", "xep_0115", "xep_0163"):
            if plugin not in xmpp.plugin:
                xmpp.register_plugin(plugin)
        self._own = JID(xmpp.boundjid.bare)
        self._pubsub = xmpp.plugin["xep_0060"]
        self._pubsub.map_node_event(DEVICE_LIST_NODE, _EVENT)
        xmpp.plugin["xep_0163"].add_interest(DEVICE_LIST_NODE)
        xmpp.add_event_handler(f"{_EVENT}_publish", self._on_publish)
        self._changed: Callable[[JID, tuple[int, ...]], None] = _ignore
        # The plugin object is only asked about trust, which is not used here.
        self._glue = _make_session_manager(
            cast("BaseXMPP", _ClientForGlue(xmpp)), cast("XEP_0384", None)
        )

    def watch(self, changed: Callable[[JID, tuple[int, ...]], None]) -> None:
        """See :meth:`Pep.watch`."""
        self._changed = changed

    async def fetch_device_list(self, jid: JID) -> DeviceIds:
        """See :meth:`Pep.fetch_device_list`."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._subscribe(jid))
            listing = group.create_task(self._download_list(jid))
        ids = listing.result()
        if ids is None:
            raise _no_answer("a device list cannot be fetched")
        return DeviceIds(ids, watching.result())

    async def _download_list(self, jid: JID) -> tuple[int, ...] | None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                return tuple(
                    await self._glue._download_device_list(NAMESPACE, jid.bare)  # noqa: SLF001 - pinned by a contract test
                )
        except (XMPPInteractionFailed, TimeoutError) as error:
            log.debug("no device list of %s", jid.short)
            return () if _is_final(error) else None

    async def _subscribe(self, jid: JID) -> bool:
        if jid.bare == self._own:
            return True  # the server tells an account about itself (XEP-0163, 4.3.4)
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                await self._pubsub.subscribe(slixmpp.JID(jid.bare), DEVICE_LIST_NODE)
        except (XMPPError, NotConnectedError, TimeoutError):
            log.debug("no subscription to the device list of %s", jid.short)
            return False
        return True

    async def fetch_bundle(self, jid: JID, device_id: int) -> Bundle | None:
        """See :meth:`Pep.fetch_bundle`."""
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                return await self._glue._download_bundle(  # noqa: SLF001 - pinned by a contract test
                    NAMESPACE, jid.bare, device_id
                )
        except BundleNotFound:
            return None
        except (XMPPInteractionFailed, TimeoutError) as error:
            if not _is_final(error):
                raise _no_answer("a bundle cannot be fetched") from error
            log.warning("device %d of %s has no usable bundle", device_id, jid.short)
            return None

    async def publish_bundle(self, bundle: Bundle) -> None:
        """See :meth:`Pep.publish_bundle`."""
        with _server_errors("our bundle cannot be published"):
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                await self._glue._upload_bundle(bundle)  # noqa: SLF001 - pinned by a contract test

    async def publish_device_list(self, ids: Collection[int]) -> None:
        """See :meth:`Pep.publish_device_list`."""
        with _server_errors("our device list cannot be published"):
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                await self._glue._upload_device_list(NAMESPACE, dict.fromkeys(ids))  # noqa: SLF001 - pinned by a contract test

    def _on_publish(self, message: slixmpp.Message) -> None:
        """Pass on a list that a server pushed; a malformed one changes nothing."""
        items = message["pubsub_event"]["items"]
        element = items["item"].xml.find(f"{{{NAMESPACE}}}list")
        if len(items) != 1 or element is None:
            return
        try:
            jid = JID(message["from"].bare)
            ids = tuple(oldmemo.etree.parse_device_list(element))
        except (ValueError, InvalidJIDError):
            return
        self._changed(jid, ids)


class _ClientForGlue:
    """What the glue uses of a client; slixmpp warns of its way to get a plugin."""

    def __init__(self, xmpp: slixmpp.ClientXMPP) -> None:
        self.boundjid = xmpp.boundjid
        self._pubsub = xmpp.plugin["xep_0060"]

    def __getitem__(self, name: str) -> object:
        if name != "xep_0060":
            raise KeyError(name)
        return self._pubsub


def _ignore(_jid: JID, _ids: tuple[int, ...]) -> None:
    """Stand in until somebody watches."""


def _is_final(error: Exception) -> bool:
    """Tell whether asking again would get the same: a refusal, or nonsense."""
    cause = error.__cause__
    if isinstance(cause, IqError):
        return cause.condition not in _TEMPORARY
    return not isinstance(error, TimeoutError) and (
        cause is None or isinstance(cause, ValueError)
    )


def _no_answer(what: str) -> DeviceListError:
    return DeviceListError(
        what,
        why="the server did not answer, or refused",
        fix="Try again in a moment.",
    )


@contextmanager
def _server_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (XMPPInteractionFailed, TimeoutError) as error:
        raise _no_answer(what) from error
