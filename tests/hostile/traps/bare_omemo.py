"""python-omemo as it is, with a storage in memory and a server in memory."""

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import oldmemo
import oldmemo.oldmemo
import omemo
import twomemo
from omemo.storage import Just, Maybe, Nothing, Storage

ALICE, BOB = "alice@example.onion", "bob@example.onion"
OLD, NEW = oldmemo.oldmemo.NAMESPACE, twomemo.twomemo.NAMESPACE


class KilledError(BaseException):
    """Stands for a SIGKILL."""


class BareStorage(Storage):
    """Memory that takes its time to store, as every real storage does.

    Args:
        values: What is kept from before.
        kill_after: This many writes come through; the next one kills.
    """

    def __init__(
        self,
        values: dict[str, omemo.JSONType] | None = None,
        kill_after: int | None = None,
    ) -> None:
        super().__init__(disable_cache=True)
        self.values: dict[str, omemo.JSONType] = copy.deepcopy(values or {})
        self.stores = 0
        self.kill_after = kill_after

    async def _load(self, key: str) -> Maybe[omemo.JSONType]:
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key: str, value: omemo.JSONType) -> None:
        await asyncio.sleep(0)
        self._count()
        self.values[key] = copy.deepcopy(value)

    async def _delete(self, key: str) -> None:
        self._count()
        self.values.pop(key, None)

    def _count(self) -> None:
        if self.stores == self.kill_after:
            raise KilledError
        self.stores += 1


class BareServer:
    """What the bare library's accounts have published; a context manager.

    Attributes:
        downloads: The device of every bundle that was asked for, in order.
        is_down: Whether uploads fail.
    """

    def __init__(self) -> None:
        self.bundles: dict[tuple[str, str, int], omemo.Bundle] = {}
        self.lists: dict[tuple[str, str], omemo.DeviceList] = {}
        self.downloads: list[int] = []
        self.is_down = False
        self.stack = AsyncExitStack()

    async def log_in(
        self,
        jid: str,
        storage: BareStorage | None = None,
        namespaces: Sequence[str] = (OLD,),
    ) -> omemo.SessionManager:
        """Return the session manager of an account, as the library makes it."""
        storage = storage or BareStorage()
        make = {OLD: oldmemo.Oldmemo, NEW: twomemo.Twomemo}
        backends = [make[namespace](storage) for namespace in namespaces]
        bare = type("Bare", (_Bare,), {"server": self, "jid": jid})
        manager: omemo.SessionManager = await bare.create(
            backends, storage, jid, None, "undecided"
        )
        self.stack.push_async_callback(manager.shutdown)
        await manager.after_history_sync()
        return manager


class _Bare(omemo.SessionManager):
    """An account; what the library leaves open goes to the server in memory."""

    server: BareServer
    jid: str

    async def _upload_bundle(self, bundle: omemo.Bundle) -> None:
        if self.server.is_down:
            raise omemo.BundleUploadFailed
        key = bundle.namespace, bundle.bare_jid, bundle.device_id
        self.server.bundles[key] = bundle

    async def _download_bundle(
        self, namespace: str, bare_jid: str, device_id: int
    ) -> omemo.Bundle:
        self.server.downloads.append(device_id)
        try:
            return self.server.bundles[namespace, bare_jid, device_id]
        except KeyError:
            raise omemo.BundleNotFound from None

    async def _delete_bundle(self, namespace: str, device_id: int) -> None: ...

    async def _upload_device_list(
        self, namespace: str, device_list: omemo.DeviceList
    ) -> None:
        self.server.lists[namespace, self.jid] = device_list

    async def _download_device_list(
        self, namespace: str, bare_jid: str
    ) -> omemo.DeviceList:
        return dict(self.server.lists.get((namespace, bare_jid), {}))

    async def _evaluate_custom_trust_level(
        self, device: omemo.DeviceInformation
    ) -> omemo.TrustLevel:
        del device
        return omemo.TrustLevel.TRUSTED

    async def _make_trust_decision(
        self, undecided: frozenset[omemo.DeviceInformation], identifier: str | None
    ) -> None: ...

    async def _send_message(self, message: omemo.Message, bare_jid: str) -> None: ...


@asynccontextmanager
async def bare_accounts(
    namespaces: Sequence[str] = (OLD,),
) -> AsyncIterator[tuple[BareServer, omemo.SessionManager, omemo.SessionManager]]:
    """Two accounts that know each other's device lists."""
    server = BareServer()
    async with server.stack:
        alice = await server.log_in(ALICE, namespaces=namespaces)
        bob = await server.log_in(BOB, namespaces=namespaces)
        for namespace in namespaces:
            await alice.refresh_device_list(namespace, BOB)
            await bob.refresh_device_list(namespace, ALICE)
        yield server, alice, bob


async def bare_encrypt(
    manager: omemo.SessionManager, to: str, text: str, namespace: str = OLD
) -> omemo.Message:
    """Encrypt as the library does it."""
    messages, _ = await manager.encrypt(frozenset({to}), {namespace: text.encode()})
    return next(iter(messages))
