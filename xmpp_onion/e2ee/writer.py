"""Encrypts a content for devices: once for each OMEMO version, once for each key.

The library's session manager does the same, but reads every device record again
for each message, and has no second choice when a device's newest bundle is missing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import omemo
from omemo.message import Content, EncryptedKeyMaterial, KeyExchange, PlainKeyMaterial
from omemo.session import Initiation, Session

from xmpp_onion.address import JID
from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.session_manager import Door

__all__ = ["Writer", "Written"]

_UNUSABLE = (omemo.BundleNotFound, omemo.BundleDownloadFailed, omemo.KeyExchangeFailed)


class Written(NamedTuple):
    """What became of a content.

    Attributes:
        messages: One for each version that a device needs, the newest first.
        readers: The devices that can read it, by JID and id.
        broken: The bundles that could not be used, by version, JID and id.
    """

    messages: tuple[omemo.Message, ...]
    readers: frozenset[tuple[str, int]]
    broken: tuple[tuple[str, str, int], ...]


Backend = LocalTwomemo | LocalOldmemo


@dataclass(slots=True)
class _Draft:
    """A message of one version, until all its keys are there."""

    backend: Backend
    content: Content
    material: PlainKeyMaterial = field(repr=False)
    keys: list[tuple[EncryptedKeyMaterial, KeyExchange | None]] = field(
        default_factory=list
    )
    sessions: list[Session] = field(default_factory=list)


class Writer:
    """The sending side of this device. Everything here is inside a transaction.

    Args:
        backends: By namespace, the newest first.
        own: Our account, bare.
        door: Where bundles are.
    """

    def __init__(self, backends: Mapping[str, Backend], own: JID, door: Door) -> None:
        self._backends = backends
        self._own = own
        self._door = door

    async def write(
        self,
        contents: Mapping[str, bytes],
        device_id: int,
        targets: Iterable[tuple[str, int, Iterable[str]]],
        *,
        needed: Collection[str],
    ) -> Written:
        """Encrypt for devices; store their sessions.

        Args:
            contents: By namespace. A version that is missing is not used.
            device_id: Our own.
            targets: JID, device id and versions of each device. It gets the newest
                with a session or a usable bundle.
            needed: Whose devices it is for. If none of all these can read it, there
                is no message, and nothing is stored.
        """
        targets = [*targets]
        spoken = {version for _, _, versions in targets for version in versions}
        drafts = {
            namespace: _Draft(backend, *await backend.encrypt_plaintext(content))
            for namespace, backend in self._backends.items()
            if namespace in spoken and (content := contents.get(namespace)) is not None
        }
        readers, broken = set(), []
        for jid, number, versions in targets:
            for namespace, draft in drafts.items():
                if namespace in versions:
                    try:
                        await self._add(draft, namespace, jid, number)
                    except _UNUSABLE:
                        broken.append((namespace, jid, number))
                    else:
                        readers.add((jid, number))
                        break
        if all(jid not in needed for jid, _ in readers):
            return Written((), frozenset(), tuple(broken))
        used = {name: draft for name, draft in drafts.items() if draft.keys}
        for draft in used.values():
            for session in draft.sessions:
                await draft.backend.store_session(session)
        messages = tuple(
            omemo.Message(
                name, self._own, device_id, draft.content, frozenset(draft.keys)
            )
            for name, draft in used.items()
        )
        return Written(messages, frozenset(readers), tuple(broken))

    async def _add(
        self, draft: _Draft, namespace: str, jid: str, device_id: int
    ) -> None:
        backend, material = draft.backend, draft.material
        session: Session | None = await backend.load_session(jid, device_id)
        key: EncryptedKeyMaterial
        if session is None or await backend.is_retired(session):
            bundle = await self._door.bundle(namespace, jid, device_id)
            session, key = await backend.build_session_active(
                jid, device_id, bundle, material
            )
        else:
            key = await backend.encrypt_key_material(session, material)
        is_new = session.initiation is Initiation.ACTIVE and not session.confirmed
        draft.keys.append((key, session.key_exchange if is_new else None))
        draft.sessions.append(session)
