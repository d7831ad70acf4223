"""What is in memory is never ahead of the disk, whatever is undone or fails."""

import asyncio
import contextlib
import copy
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import doubleratchet
import omemo
import pytest
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import (
    DiffieHellmanRatchet,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oldmemo.oldmemo import EncryptedKeyMaterialImpl as OldKey
from oldmemo.oldmemo import Oldmemo
from oldmemo.oldmemo import SessionImpl as OldSession
from omemo.bundle import Bundle
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import JSONType
from twomemo.twomemo import EncryptedKeyMaterialImpl as NewKey
from twomemo.twomemo import SessionImpl as NewSession
from twomemo.twomemo import Twomemo

from xmpp_onion.e2ee.local_oldmemo import LocalOldmemo
from xmpp_onion.e2ee.local_twomemo import LocalTwomemo
from xmpp_onion.e2ee.ratchet import Curve
from xmpp_onion.e2ee.record import split
from xmpp_onion.e2ee.storage import KeyStorage
from xmpp_onion.store import Database, Keys
from xmpp_onion.testing.bare_device import BareDevice, Letter

OURS = {"old": LocalOldmemo, "new": LocalTwomemo}
PLAIN = {"old": Oldmemo, "new": Twomemo}
REFUSED = (omemo.OMEMOException, ValueError)


class UndoneError(Exception):
    """What a test raises to undo a transaction."""


class Memory(Storage):
    """The library's storage in a dict."""

    def __init__(self) -> None:
        super().__init__(disable_cache=True)
        self.values: dict[str, JSONType] = {}

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self.values[key] = copy.deepcopy(value)

    async def _delete(self, key: str) -> None:
        self.values.pop(key, None)


class Side:
    """A device with a store that can be undone and opened again."""

    def __init__(self, name: str, kind: str, database: Database | None) -> None:
        self.name = name
        self._kind = kind
        self._database = database
        self._memory = Memory()
        self.restart()

    def restart(self) -> None:
        """Forget all that is only in memory."""
        database = self._database
        if database is None:
            self.device = BareDevice(self.name, PLAIN[self._kind](self._memory))
        else:
            backend = OURS[self._kind](KeyStorage(Keys(database)))
            self.device = BareDevice(self.name, backend, database, keeps_spent=True)

    def use_library(self) -> None:
        """Let the library itself use our store, as an earlier version did."""
        assert self._database
        backend = PLAIN[self._kind](KeyStorage(Keys(self._database)))
        self.device = BareDevice(self.name, backend, self._database)

    async def rows(self, part: str) -> dict[str, str]:
        """Return the rows whose last part this is."""
        assert self._database
        found = await self._database.fetch("SELECT key, text FROM keys")
        return {r["key"]: r["text"] for r in found if r["key"].endswith(f"/{part}")}

    @property
    def is_ours(self) -> bool:
        return self._database is not None

    @asynccontextmanager
    async def undone(self) -> AsyncIterator[None]:
        """A transaction that ends well and is undone nevertheless."""
        before = copy.deepcopy(self._memory.values)
        with contextlib.suppress(UndoneError):
            async with self.device.transaction():
                yield
                raise UndoneError
        self._memory.values = before


class Pair:
    """Two sides, and what is on the way between them."""

    def __init__(self, sides: tuple[Side, Side], bundles: dict[str, Bundle]) -> None:
        self.sides = sides
        self.bundles = bundles
        self.on_the_way: list[tuple[int, bytes, Letter]] = []
        self.arrived: list[tuple[int, Letter]] = []
        self.sent = 0

    async def do(self, what: str, number: int) -> None:
        who = number % 2
        match what:
            case "send":
                await self.send(who)
            case "send undone":
                await self.send_undone(who)
            case "restart":
                self.sides[who].restart()
            case "repeat" if self.arrived:
                to, letter = self.arrived[number % len(self.arrived)]
                with pytest.raises(REFUSED):
                    await self.read(to, letter)
            case _ if self.on_the_way:
                await self.arrive(what, number % len(self.on_the_way))
            case _:
                pass

    async def arrive(self, what: str, index: int) -> None:
        to, text, letter = self.on_the_way[index]
        if what == "read undone":
            await self.read_undone(to, letter)
        elif what == "read forged":
            await self.read_forged(to, letter)
        else:
            del self.on_the_way[index]
            assert await self.read(to, letter) == text
            self.arrived.append((to, letter))

    async def send(self, who: int) -> None:
        self.sent += 1
        text = f"message {self.sent}".encode()
        letter = await self.write(who, text)
        if letter is not None:
            self.on_the_way.append((1 - who, text, letter))

    async def send_inside(self, who: int) -> None:
        other = self.sides[1 - who]
        write = self.sides[who].device.write_inside
        letter = await write(b"one of many", other.name, self.bundles[other.name])
        self.on_the_way.append((1 - who, b"one of many", letter))

    async def write(self, who: int, text: bytes) -> Letter | None:
        side, other = self.sides[who], self.sides[1 - who]
        if not side.is_ours and not await side.device.backend.load_session(
            other.name, 1
        ):
            return None  # both would begin, and the library cannot bear that
        bundle = self.bundles[other.name]
        return await side.device.write(text, other.name, bundle)

    async def read(self, to: int, letter: Letter) -> bytes:
        side = self.sides[to]
        return await side.device.read(letter, self.sides[1 - to].name)

    async def send_undone(self, who: int) -> None:
        side, other = self.sides[who], self.sides[1 - who]
        if side.is_ours:
            bundle = self.bundles[other.name]
            async with side.undone():
                await side.device.write_inside(b"lost", other.name, bundle)

    async def read_undone(self, to: int, letter: Letter) -> None:
        side = self.sides[to]
        async with side.undone():
            await side.device.read_inside(letter, self.sides[1 - to].name)

    async def read_forged(self, to: int, letter: Letter) -> None:
        """A payload that does not fit its key: the failure itself is not undone."""
        side = self.sides[to]
        content, _ = await side.device.backend.encrypt_plaintext(b"forged")
        forged = Letter(content, letter.key, letter.exchange)
        async with side.device.transaction():
            with pytest.raises(REFUSED):
                await side.device.read_inside(forged, self.sides[1 - to].name)


@asynccontextmanager
async def pair(kind: str, *, with_plain: bool) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        opened: list[Database | None] = []
        for name in ("alice", "bob")[: 1 if with_plain else 2]:
            path = folder / name / "store.db"
            opened.append(await stack.enter_async_context(Database.open(path)))
        opened += [None] * (2 - len(opened))
        one, two = Side("alice", kind, opened[0]), Side("bob", kind, opened[1])
        bundles = {side.name: await side.device.prepare() for side in (one, two)}
        yield Pair((one, two), bundles)


KINDS = pytest.mark.parametrize("kind", ["old", "new"])


@KINDS
async def test_a_skipped_message_that_is_undone_is_read_again_and_then_once(
    kind: str,
) -> None:
    async with pair(kind, with_plain=False) as both:
        for _ in range(5):
            await both.send(0)
        await both.arrive("read", 4)
        await both.arrive("read", 0)

        await both.arrive("read undone", 0)
        await both.arrive("read", 0)
        await both.do("repeat", 1)
        await both.arrive("read undone", 1)
        both.sides[1].restart()
        await both.arrive("read", 1)
        await both.arrive("read", 0)


@KINDS
async def test_a_copy_of_a_ratchet_turns_without_the_original(kind: str) -> None:
    async with pair(kind, with_plain=False) as both:
        await both.send(0)
        await both.arrive("read", 0)
        await both.send(1)
        await both.arrive("read", 0)
        session = await both.sides[0].device.backend.load_session("bob", 1)
        assert isinstance(session, OldSession | NewSession)
        parts = vars(session.double_ratchet).values()
        [curve] = [part for part in parts if isinstance(part, Curve)]
        before = curve.json

        twin = copy.deepcopy(curve)
        await twin.next_encryption_key()

        assert isinstance(twin, Curve)
        assert twin.json != before
        assert curve.json == before


def test_a_key_that_is_kept_is_used_for_no_other() -> None:
    curve, library = Curve(), DiffieHellmanRatchet
    first, second = curve._generate_priv(), curve._generate_priv()
    other = library._derive_pub(library._generate_priv())

    for priv in (second, first, first, second):
        assert curve._derive_pub(priv) == library._derive_pub(priv)
        shared = curve._perform_diffie_hellman(priv, other)
        assert shared == library._perform_diffie_hellman(priv, other)


@KINDS
async def test_a_session_that_is_taken_up_again_is_kept_once(kind: str) -> None:
    async with pair(kind, with_plain=False) as both:
        await both.send(0)
        await both.send(1)
        await both.arrive("read", 0)
        await both.arrive("read", 0)
        for who in (0, 1, 0, 1):
            await both.send(who)
            await both.arrive("read", 0)

        for side in both.sides:
            rows = await side.rows("session")
            assert len(rows) == 2
            assert len({split(text)[0] for text in rows.values()}) == 2


@KINDS
async def test_a_session_of_a_version_before_is_taken_over(kind: str) -> None:
    async with pair(kind, with_plain=False) as both:
        for side in both.sides:
            async with side.device.transaction():
                await side.device.backend.purge()
            side.use_library()
            both.bundles[side.name] = await side.device.prepare()
        for _ in range(4):
            await both.send(0)
        await both.arrive("read", 3)
        await both.send(1)
        await both.arrive("read", 3)

        for side in both.sides:
            before = await side.device.prepare()
            side.restart()
            assert await side.device.prepare() == before
        while both.on_the_way:
            await both.do("read", 0)
        await both.send(0)
        await both.arrive("read", 0)
        await both.send(1)
        await both.arrive("read", 0)

        for side in both.sides:
            for part in ("double_ratchet", "confirmed", "x3dh", "pre_key_ids"):
                assert not await side.rows(part)


@KINDS
async def test_a_thousand_skipped_keys_are_kept_and_the_oldest_goes(kind: str) -> None:
    async with pair(kind, with_plain=False) as both:
        for _ in range(1002):
            await both.send(0)
        for index in (1000, 1000):  # skips 1,000, then reads the next
            await both.arrive("read", index)
        first = both.on_the_way[0]
        await both.send(0)
        await both.send(0)
        await both.arrive("read", len(both.on_the_way) - 1)

        both.sides[1].restart()
        with pytest.raises(REFUSED):
            await both.read(1, first[2])
        both.on_the_way.pop(0)
        written = await both.sides[1].rows("0")
        async with both.sides[1].device.transaction():
            while both.on_the_way:
                to, text, letter = both.on_the_way.pop()
                assert await both.sides[to].device.read_inside(letter, "alice") == text

        assert written
        assert not await both.sides[1].rows("0")


@KINDS
@pytest.mark.parametrize("jump", [1005, 2**31, 2**32 - 1])
async def test_a_header_that_jumps_far_is_refused_and_takes_no_key_away(
    kind: str, jump: int
) -> None:
    async with pair(kind, with_plain=False) as both:
        for _ in range(4):
            await both.send(0)
        await both.arrive("read", 3)
        before = await both.sides[1].rows("session")
        to, _, letter = both.on_the_way[0]
        key = letter.key
        assert isinstance(key, OldKey | NewKey)
        message = key.encrypted_message
        header = message.header._replace(sending_chain_length=jump)
        forged = type(key)(key.bare_jid, 1, message._replace(header=header))

        with pytest.raises(omemo.DecryptionFailed) as caught:
            await both.read(to, Letter(letter.content, forged, letter.exchange))
        assert isinstance(caught.value.__cause__, doubleratchet.DoSProtectionException)

        assert await both.sides[1].rows("session") == before
        while both.on_the_way:
            await both.arrive("read", 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *["send", "read"] * 3,
                "send undone",
                "read undone",
                "read forged",
                "repeat",
                "restart",
            ]
        ),
        st.integers(0, 99),
    ),
    max_size=60,
)


@KINDS
@pytest.mark.parametrize("other", ["library", "ours"])
@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_every_message_is_read_once_whatever_is_undone(
    kind: str, other: str, steps: list[tuple[str, int]]
) -> None:
    async def run() -> None:
        async with pair(kind, with_plain=other == "library") as both:
            for what, number in steps:
                await both.do(what, number)
            while both.on_the_way:
                await both.do("read", 0)
            for who in (0, 1):
                await both.do("send", who)
            while both.on_the_way:
                await both.do("read", 0)

    asyncio.run(run())
