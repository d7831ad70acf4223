"""An OMEMO account of the bare library: python-omemo's own manager and backends.

It shares with ours what travels, and nothing else: no code of
:mod:`xmpp_onion.e2ee` encrypts, decrypts or wraps anything here. The envelope of
``urn:xmpp:omemo:2`` (XEP-0420) is written by hand, so that a test can spoil it.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from xml.etree import ElementTree as ET

import oldmemo
import oldmemo.etree
import omemo
import twomemo
import twomemo.etree
from omemo.storage import Just, Maybe, Nothing, Storage

from xmpp_onion.address import JID
from xmpp_onion.testing.fake_pep import FakePepServer

__all__ = ["BareAccount", "envelope"]

_NEW, _OLD = twomemo.twomemo.NAMESPACE, oldmemo.oldmemo.NAMESPACE


def envelope(text: str, affixes: str) -> bytes:
    """Return an envelope as somebody writes it who has read XEP-0420.

    Args:
        text: The body; nothing in it is escaped.
        affixes: What stands beside the content, as XML.
    """
    body = f"<body xmlns='jabber:client'>{text}</body>"
    content = f"<content>{body}</content>"
    return f"<envelope xmlns='urn:xmpp:sce:1'>{content}{affixes}</envelope>".encode()


class BareAccount:
    """One device of an account; entering publishes it.

    Args:
        jid: The account, bare; devices of one account share it.
        server: Where device lists and bundles are.
        namespaces: The OMEMO versions that it speaks, the newest first.

    Attributes:
        empties: The messages without text that it wants to send, as elements.
        backends: The library's own, by namespace; a test may let one err.
    """

    def __init__(
        self,
        jid: JID,
        server: FakePepServer,
        namespaces: Sequence[str] = (_NEW, _OLD),
    ) -> None:
        self.jid = jid.bare
        self.empties: list[ET.Element] = []
        self.backends: dict[str, omemo.Backend] = {}
        self._server = server
        self._namespaces = namespaces
        self._manager: omemo.SessionManager
        self._storage = _Memory()

    async def __aenter__(self) -> Self:
        make = {_NEW: twomemo.Twomemo, _OLD: oldmemo.Oldmemo}
        self.backends = {name: make[name](self._storage) for name in self._namespaces}
        self._manager = await _manager_class(self, self._server).create(
            [*self.backends.values()], self._storage, self.jid, None, "undecided"
        )
        await self._manager.after_history_sync()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._manager.shutdown()

    @property
    def manager(self) -> omemo.SessionManager:
        """The library's own."""
        return self._manager

    async def write(
        self, to: JID, contents: dict[str, bytes]
    ) -> tuple[ET.Element, ...]:
        """Encrypt; return an ``<encrypted/>`` element for each version needed.

        Args:
            to: For whom.
            contents: What each version encrypts, by namespace, the first choice
                first.
        """
        for namespace in self._namespaces:
            await self._manager.refresh_device_list(namespace, to.bare)
        messages, errors = await self._manager.encrypt(
            frozenset({str(to.bare)}), contents, [*contents]
        )
        if errors:
            raise AssertionError(errors)
        return tuple(_travel(_serialise(message)) for message in messages)

    async def read(self, element: ET.Element, sender: JID) -> bytes | None:
        """Decrypt; None if it only carries keys."""
        text, _, _ = await self._manager.decrypt(await self.parse(element, sender))
        return text

    async def parse(self, element: ET.Element, sender: JID) -> omemo.Message:
        """Return what an element carries."""
        element = _travel(element)
        if element.tag == f"{{{_NEW}}}encrypted":
            return twomemo.etree.parse_message(element, sender.bare)
        await self._manager.refresh_device_list(_OLD, sender.bare)
        return await oldmemo.etree.parse_message(
            element, sender.bare, self.jid, self._manager
        )


def _serialise(message: omemo.Message) -> ET.Element:
    if message.namespace == _NEW:
        return twomemo.etree.serialize_message(message)
    return oldmemo.etree.serialize_message(message)


def _travel(element: ET.Element) -> ET.Element:
    """Return what arrives: the same as text, read again."""
    return ET.fromstring(ET.tostring(element))  # noqa: S314 - a test's own text


class _Memory(Storage):
    """A dictionary."""

    def __init__(self) -> None:
        super().__init__(disable_cache=True)
        self._values: dict[str, omemo.JSONType] = {}

    async def _load(self, key: str) -> Maybe[omemo.JSONType]:
        return Just(self._values[key]) if key in self._values else Nothing()

    async def _store(self, key: str, value: omemo.JSONType) -> None:
        self._values[key] = value

    async def _delete(self, key: str) -> None:
        self._values.pop(key, None)


def _manager_class(
    account: BareAccount, server: FakePepServer
) -> type[omemo.SessionManager]:
    """Return the library's session manager on a server; it trusts everybody."""

    class Manager(omemo.SessionManager):
        @staticmethod
        async def _upload_bundle(bundle: omemo.Bundle) -> None:
            place = bundle.namespace, account.jid, bundle.device_id
            server.bundles[place] = bundle

        @staticmethod
        async def _download_bundle(
            namespace: str, bare_jid: str, device_id: int
        ) -> omemo.Bundle:
            bundle = server.bundles.get((namespace, JID(bare_jid), device_id))
            if bundle is None:
                raise omemo.BundleNotFound(f"{namespace} {device_id}")
            return bundle

        @staticmethod
        async def _delete_bundle(namespace: str, device_id: int) -> None:
            server.bundles.pop((namespace, account.jid, device_id))

        @staticmethod
        async def _upload_device_list(
            namespace: str, device_list: omemo.DeviceList
        ) -> None:
            server.push(account.jid, device_list, [namespace])

        @staticmethod
        async def _download_device_list(
            namespace: str, bare_jid: str
        ) -> omemo.DeviceList:
            return dict(server.lists.get((namespace, JID(bare_jid)), {}))

        async def _evaluate_custom_trust_level(
            self, device: omemo.DeviceInformation
        ) -> omemo.TrustLevel:
            del device
            return omemo.TrustLevel.TRUSTED

        async def _make_trust_decision(
            self, undecided: frozenset[omemo.DeviceInformation], identifier: str | None
        ) -> None:
            """Nothing: everybody is trusted."""

        @staticmethod
        async def _send_message(message: omemo.Message, bare_jid: str) -> None:
            del bare_jid
            account.empties.append(_travel(_serialise(message)))

    return Manager
