"""PEP nodes over slixmpp: fetch an item, publish one, and see that it is open.

Each call is one flight, except where a server refuses how a node is to be made.

Source: XEP-0060, sections 6.5, 7.1 and 8.2; XEP-0163.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias
from xml.etree import ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout, XMPPError
from slixmpp.plugins.xep_0004 import Form
from slixmpp.stanza import Iq
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp_onion.address import JID
from xmpp_onion.e2ee.versions import Node
from xmpp_onion.errors import DeviceListError

__all__ = ["Asked", "HiddenNodeError", "Nodes"]

Asked: TypeAlias = asyncio.Future[Iq]
"""A question that is on its way."""

# Seconds for one request. A round trip over two onion circuits takes one to
# five; a dead circuit is noticed by the session, not here.
_REQUEST_TIMEOUT: Final = 60.0
# The same for what is asked before the login, from the dial on.
_AHEAD_TIMEOUT: Final = 300.0
_PUBSUB_ERRORS: Final = "{http://jabber.org/protocol/pubsub#errors}"
# Refusals that mean "for contacts only": ejabberd's and Prosody's (XEP-0060,
# section 6.5.9).
_HIDING: Final = {"not-authorized", "forbidden"}
# RFC 6120, section 8.3.3: refusals that may be none in a while. All others mean
# that there is nothing for us.
_TEMPORARY: Final = {
    "internal-server-error",
    "remote-server-not-found",
    "remote-server-timeout",
    "resource-constraint",
    "undefined-condition",
}


class HiddenNodeError(Exception):
    """A node is for those with a presence subscription, and we have none."""


class Nodes:
    """The nodes of our own account, and those of others as far as they let us.

    Args:
        xmpp: A slixmpp client with the plugin ``xep_0060``.
    """

    def __init__(self, xmpp: slixmpp.ClientXMPP) -> None:
        self._xmpp = xmpp
        self._own = slixmpp.JID(xmpp.boundjid.bare)
        self._pubsub = xmpp.plugin["xep_0060"]

    @property
    def own(self) -> JID:
        """Our account."""
        return JID(self._own.bare)

    def ask(self, jid: JID, node: Node, *, newest: bool) -> Asked:
        """Send the request for an item now or with the next login, for :meth:`fetch`.

        Args:
            jid: Whose node.
            node: Its name, and the id of the item.
            newest: As there.
        """
        asked = self._ask(jid, node, newest=newest, timeout=_AHEAD_TIMEOUT)
        # Nobody may come to read it: the login can fail.
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asked

    def _ask(self, jid: JID, node: Node, *, newest: bool, timeout: float) -> Asked:
        name, item_id = node
        wanted = {"max_items": 1} if newest else {"item_ids": [item_id]}
        answer: Asked = self._pubsub.get_items(
            slixmpp.JID(jid.bare), name, **wanted, timeout=timeout
        )
        return answer

    async def fetch(
        self, jid: JID, node: Node, *, newest: bool, asked: Asked | None = None
    ) -> ET.Element | None:
        """Return what an item holds; None if there is none, or none for us.

        Args:
            jid: Whose node.
            node: Its name, and the id of the item.
            newest: Ask for the newest item whatever its id: some clients publish
                lists under random ids.
            asked: What :meth:`ask` returned for the same.

        Raises:
            HiddenNodeError: It is for contacts only.
            DeviceListError: The server did not answer.
        """
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                answer = await (
                    asked
                    or self._ask(jid, node, newest=newest, timeout=_REQUEST_TIMEOUT)
                )
        except IqError as error:
            if error.condition in _HIDING:
                raise HiddenNodeError from error
            if error.condition in _TEMPORARY:
                raise _no_answer("keys cannot be fetched") from error
            return None
        except (IqTimeout, NotConnectedError, TimeoutError) as error:
            raise _no_answer("keys cannot be fetched") from error
        return _payload(answer, node[1])

    async def subscribe(self, jid: JID, name: str) -> bool:
        """Ask to be told of changes; return whether we shall be."""
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                await self._pubsub.subscribe(slixmpp.JID(jid.bare), name)
        except (XMPPError, NotConnectedError, TimeoutError):
            return False
        return True

    async def publish(
        self,
        node: Node,
        payload: ET.Element,
        *,
        max_items: str,
        access_model: str = "open",
    ) -> None:
        """Publish an item on a node made for it.

        Args:
            node: Its name, and the id of the item.
            payload: What the item holds.
            max_items: How many items the node keeps: a number or ``max``.
            access_model: Who may read it: anybody, or, with ``whitelist``, we alone.

        Raises:
            DeviceListError: The server did not answer, or refused.
        """
        options = {
            "pubsub#access_model": access_model,
            "pubsub#persist_items": "true",
            "pubsub#max_items": max_items,
        }
        with _errors("our keys cannot be published"):
            try:
                await self._publish(node, payload, options)
            except IqError as error:
                if not _says(error, "precondition-not-met"):
                    # Not every server knows how to limit the items.
                    del options["pubsub#max_items"]
                else:
                    await self._configure(node[0], options)
                await self._publish(node, payload, options)

    async def _publish(
        self, node: Node, payload: ET.Element, options: dict[str, str]
    ) -> None:
        name, item_id = node
        form = _form("http://jabber.org/protocol/pubsub#publish-options", options)
        async with asyncio.timeout(_REQUEST_TIMEOUT):
            await self._pubsub.publish(self._own, name, item_id, payload, form)

    async def _configure(self, name: str, options: dict[str, str]) -> None:
        form = _form("http://jabber.org/protocol/pubsub#node_config", options)
        async with asyncio.timeout(_REQUEST_TIMEOUT):
            await self._pubsub.set_node_config(self._own, name, form)

    async def access_model(self, name: str) -> str:
        """Return who may read a node of ours, in the words of XEP-0060.

        Raises:
            DeviceListError: The server did not answer, or refused.
        """
        with _errors("our nodes cannot be checked"):
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                answer = await self._pubsub.get_node_config(self._own, name)
        form = answer["pubsub_owner"]["configure"]["form"]
        return str(form.get_values().get("pubsub#access_model", ""))

    async def open(self, name: str) -> bool:
        """Let everybody read a node of ours; False if the server refuses that.

        Raises:
            DeviceListError: The server did not answer.
        """
        return await self._set_access(name, "open")

    async def restrict(self, name: str) -> bool:
        """See that only we can read a node; False if the server refuses that.

        Raises:
            DeviceListError: The server did not answer.
        """
        if await self.access_model(name) == "whitelist":
            return True
        return await self._set_access(name, "whitelist")

    async def _set_access(self, name: str, model: str) -> bool:
        with _errors("the access to our nodes cannot be changed"):
            try:
                await self._configure(name, {"pubsub#access_model": model})
            except IqError as error:
                if error.condition in _TEMPORARY:
                    raise
                return False
        return True

    async def delete(self, name: str) -> None:
        """Take a node of ours away, with all that is in it.

        Raises:
            DeviceListError: The server did not answer, or refused.
        """
        with _errors("our node cannot be deleted"):
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                await self._pubsub.delete_node(self._own, name)

    async def post(self, node: Node, payload: ET.Element) -> None:
        """Publish an item on a node that is there, and do not wait for the answer."""
        with suppress(NotConnectedError):
            answer = self._pubsub.publish(self._own, *node, payload)
            answer.add_done_callback(lambda one: one.cancelled() or one.exception())
            # It has gone out when slixmpp's filters are through with it.
            await self._xmpp.waiting_queue.join()


def _payload(answer: slixmpp.Iq, item_id: str) -> ET.Element | None:
    """Return what the item holds; of several, the one with the right id."""
    items = answer["pubsub"]["items"].xml.findall(
        "{http://jabber.org/protocol/pubsub}item"
    )
    named = [item for item in items if item.get("id") == item_id]
    return next((child for item in named or items[-1:] for child in item), None)


def _form(form_type: str, fields: dict[str, str]) -> Form:
    form = Form()
    form["type"] = "submit"
    form.add_field(var="FORM_TYPE", ftype="hidden", value=form_type)
    for name, value in fields.items():
        form.add_field(var=name, value=value)
    return form


def _says(error: IqError, condition: str) -> bool:
    found = error.iq["error"].xml.find(f"{_PUBSUB_ERRORS}{condition}")
    return found is not None


def _no_answer(what: str) -> DeviceListError:
    return DeviceListError(
        what,
        why="the server did not answer, or refused",
        fix="Try again in a moment.",
    )


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except (XMPPError, NotConnectedError, TimeoutError) as error:
        raise _no_answer(what) from error
