"""The libraries' own tests, unchanged, of our storage, backends and ratchet.

They are in the source archives of exactly the versions that we have, which
``scripts/test foreign`` fetches by hash; nothing of them is copied here. Of
python-omemo's session manager the archive has the test and none of its helpers, so
those are ours. Two tests cannot be run: their data, accounts of older formats that
we never had, are in no archive.
"""

import json
import os
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, nullcontext
from enum import Enum
from importlib import util
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import doubleratchet
import oldmemo
import omemo
import pytest
import twomemo
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from doubleratchet.recommended import diffie_hellman_ratchet_curve25519

from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.ratchet import Curve, Ratchet
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.store import Database, Keys

NAMES = ["omemo", "doubleratchet"]


def archive(name: str) -> Path:
    """Return the unpacked source archive of the version that is installed."""
    place = Path(os.environ["XMPP_ONION_SOURCES"])  # scripts/test foreign sets it
    return place / f"{name}-{version(name)}" / "tests"


class Upstream:
    """Imports the tests of a library as one package, with helpers of ours."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._package = f"upstream_{name}"
        self._folder = archive(name)
        self._monkeypatch = monkeypatch
        self._keep(self._package, ModuleType(self._package))
        sys.modules[self._package].__path__ = [str(self._folder)]

    def _keep(self, name: str, module: ModuleType) -> None:
        self._monkeypatch.setitem(sys.modules, name, module)

    def provide(self, name: str, **values: object) -> None:
        """Let the tests import from a module that the archive does not have."""
        module = ModuleType(name)
        vars(module).update(values)
        self._keep(f"{self._package}.{name}", module)

    def load(self, name: str) -> ModuleType:
        full = f"{self._package}.{name}"
        spec = util.spec_from_file_location(full, self._folder / f"{name}.py")
        module = util.module_from_spec(spec)
        self._keep(full, module)
        spec.loader.exec_module(module)
        return module


# --- python-omemo: its session manager on our store and backends --------------------

Bundles = dict[tuple[str, str, int], omemo.Bundle]
Lists = dict[tuple[str, str], omemo.DeviceList]
Queue = list[tuple[str, omemo.Message]]


class Level(Enum):
    """The words that its tests use."""

    TRUSTED = "TRUSTED"
    UNDECIDED = "UNDECIDED"
    DISTRUSTED = "DISTRUSTED"


class Kept(KeyStorage):
    """Our storage, which has to be inside of a transaction of its database."""

    def __init__(self, database: Database) -> None:
        super().__init__(Keys(database))
        self.database = database


class Manager(omemo.SessionManager):
    """The library's, with what its test wants to see of the network."""

    own: str
    bundles: Bundles
    lists: Lists
    queue: Queue
    database: Database | None = None

    def transaction(self):
        # `create` calls the others itself, inside of its own.
        return self.database.transaction() if self.database else nullcontext()

    @classmethod
    async def create(cls, *, storage: Kept, **rest):
        async with storage.database.transaction():
            made = await super().create(storage=storage, **rest)
        made.database = storage.database
        return made

    async def encrypt(self, *arguments, **named):
        async with self.transaction():
            return await super().encrypt(*arguments, **named)

    async def decrypt(self, message):
        async with self.transaction():
            return await super().decrypt(message)

    async def refresh_device_list(self, *arguments):
        async with self.transaction():
            await super().refresh_device_list(*arguments)

    async def after_history_sync(self):
        async with self.transaction():
            await super().after_history_sync()

    @classmethod
    async def _upload_bundle(cls, bundle):
        cls.bundles[bundle.namespace, bundle.bare_jid, bundle.device_id] = bundle

    @classmethod
    async def _download_bundle(cls, namespace, bare_jid, device_id):
        return cls.bundles[namespace, bare_jid, device_id]

    @classmethod
    async def _delete_bundle(cls, namespace, device_id):
        del cls.bundles[namespace, cls.own, device_id]

    @classmethod
    async def _upload_device_list(cls, namespace, device_list):
        cls.lists[namespace, cls.own] = device_list

    @classmethod
    async def _download_device_list(cls, namespace, bare_jid):
        return cls.lists.get((namespace, bare_jid), {})

    async def _evaluate_custom_trust_level(self, device):
        return omemo.TrustLevel.TRUSTED

    async def _make_trust_decision(self, undecided, identifier):
        raise AssertionError("everybody is trusted")

    @classmethod
    async def _send_message(cls, message, bare_jid):
        cls.queue.append((bare_jid, message))


def make_manager(
    own: str, bundles: Bundles, lists: Lists, queue: Queue
) -> type[omemo.SessionManager]:
    values = {"own": own, "bundles": bundles, "lists": lists, "queue": queue}
    return type("Manager", (Manager,), values)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Callable[[], Kept]]:
    """Return what its tests call a storage in memory: ours, on the disk."""
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(Database.open(tmp_path / name / "store.db"))
            for name in ("one", "two")
        ]
        yield lambda: Kept(opened.pop())


async def test_the_session_manager_of_python_omemo(
    monkeypatch: pytest.MonkeyPatch, storage: Callable[[], Kept]
) -> None:
    upstream = Upstream("omemo", monkeypatch)
    upstream.provide(
        "data",
        NS_TWOMEMO=twomemo.twomemo.NAMESPACE,
        NS_OLDMEMO=oldmemo.oldmemo.NAMESPACE,
        ALICE_BARE_JID="alice@example.org",
        BOB_BARE_JID="bob@example.org",
    )
    upstream.provide("in_memory_storage", InMemoryStorage=storage)
    upstream.provide(
        "session_manager_impl",
        BundleStorage=Bundles,
        DeviceListStorage=Lists,
        MessageQueue=Queue,
        TrustLevel=Level,
        make_session_manager_impl=make_manager,
    )
    upstream.provide(
        "migration",
        POST_MIGRATION_TEST_MESSAGE=None,
        LegacyStorageImpl=None,
        download_bundle=None,
    )
    test = upstream.load("test_session_manager")
    backends: list[type] = []
    for library, name, ours in (
        (twomemo, "Twomemo", LocalTwomemo),
        (oldmemo, "Oldmemo", LocalOldmemo),
    ):
        monkeypatch.setattr(library, name, noting(ours, backends))

    await test.test_regression0()

    assert backends == [LocalTwomemo, LocalOldmemo] * 2


def noting(kind: type, made: list[type]) -> Callable[[Kept], object]:
    def make(kept: Kept) -> object:
        made.append(kind)
        return kind(kept)

    return make


# --- DoubleRatchet: the ratchet in memory, and as it is written --------------------


class Written(Ratchet):
    """Our ratchet, written after each step and read from that as an account does."""

    parameters: dict[str, object]

    def __init__(self) -> None:
        super().__init__()
        self.pieces: dict[int, str] = {}

    @classmethod
    def restore(cls, model):
        return cls.from_model(model, **cls.parameters)

    async def decrypt_message(self, message, associated_data):
        plain = await super().decrypt_message(message, associated_data)
        _ = self.json
        return plain

    @property
    def json(self):
        pieces = self.pieces
        values = self.write(self.parameters["max_num_skipped_message_keys"])
        for number, text in self.skipped.take_changed():
            pieces.pop(number, None)
            if text is not None:
                pieces[number] = text
        self.pieces = pieces  # `write` may begin with a new object of the library's
        return json.loads(
            json.dumps({"values": values, "pieces": sorted(pieces.items())})
        )

    @classmethod
    def from_json(cls, serialized, **_parameters):
        made = cls.read(serialized["values"])
        for number, text in serialized["pieces"]:
            made.skipped.load(number, text)
        made.pieces = dict(serialized["pieces"])
        return made


@pytest.mark.parametrize("with_curve", [False, True], ids=["its curve", "our curve"])
async def test_the_double_ratchet(
    monkeypatch: pytest.MonkeyPatch, *, with_curve: bool
) -> None:
    monkeypatch.setattr(doubleratchet, "DoubleRatchet", Written)
    test = Upstream("doubleratchet", monkeypatch).load("test_double_ratchet")
    if with_curve:  # it takes the larger one
        monkeypatch.setattr(test, "X448PrivateKey", X25519PrivateKey)
        monkeypatch.setitem(test.drc, "diffie_hellman_ratchet_class", Curve)
    monkeypatch.setattr(Written, "parameters", test.drc, raising=False)

    await test.test_double_ratchet()


class OnBoth:
    """The test asks the class, and the library an object: ours keeps a key."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, ratchet: Curve | None, kind: type[Curve]):
        if ratchet is None:
            return getattr(super(Curve, kind), self._name)
        return getattr(super(Asked, ratchet), self._name)


class Asked(Curve):
    """Our curve as the test wants to call it."""

    _derive_pub = OnBoth("_derive_pub")
    _generate_priv = OnBoth("_generate_priv")


async def test_the_curve_of_the_ratchet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        diffie_hellman_ratchet_curve25519, "DiffieHellmanRatchet", Asked
    )
    upstream = Upstream("doubleratchet", monkeypatch)
    test = upstream.load("test_diffie_hellman_ratchet")

    with warnings.catch_warnings():
        warnings.simplefilter("always")  # it counts them
        await test.test_diffie_hellman_ratchet()
