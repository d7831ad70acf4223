"""Profanity, a client that has nothing of ours, as the judge of what we send.

It runs in tmux, as a person would run it. What it read is taken from its own
chat log, where it also notes how each message was encrypted.
"""

import asyncio
import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import pytest

from xmpp_onion import (
    JID,
    Account,
    Client,
    ContactAccepted,
    ContactRequest,
    DeliveryState,
    Event,
    Message,
    Receipt,
    RoomEvent,
    Trust,
    Undecryptable,
)
from xmpp_onion.errors import NoDevicesError
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask
from xmpp_onion.session import register
from xmpp_onion.testing import ChaosProxy
from xmpp_onion.testing.loopback import LoopbackDialer

# Seconds until a step counts as failed. A step takes less than one.
PATIENCE = 30
PASSWORD = "secret"
SETTINGS = """\
[logging]
chlog=true
[omemo]
log=on
[ui]
splash=false
"""
ACCOUNT = """\
[judge]
enabled=true
jid={jid}
server=127.0.0.1
port={port}
resource=profanity
password={password}
tls.policy=trust
presence.login=online
presence.last=online
"""
# From whom, what, how encrypted.
Logged: TypeAlias = tuple[str, str, str]

pytestmark = pytest.mark.prosody


async def until(what: str, check: Callable[[], Awaitable[bool]]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not await check():  # noqa: ASYNC110 - a screen tells nobody of a change
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"this did not happen: {what}")


class Profanity:
    """A running Profanity; the same folder is the same device again."""

    def __init__(self, jid: str, folder: Path, port: int, socks: str = "") -> None:
        self.jid = jid
        self._folder = folder
        self._port = port
        self._socks = socks  # the way that its libcurl goes
        self._known = 0  # how much of its trace is older than this process

    async def __aenter__(self) -> Self:
        self._write("config/profanity/profrc", SETTINGS)
        self._write(
            "data/profanity/accounts",
            ACCOUNT.format(jid=self.jid, port=self._port, password=PASSWORD),
        )
        self._write("editor", f"#!/bin/sh\ncp '{self._folder}/draft' \"$1\"\n")
        home = {
            "HOME": self._folder,
            "XDG_CONFIG_HOME": self._folder / "config",
            "XDG_DATA_HOME": self._folder / "data",
            "EDITOR": self._folder / "editor",
            "LC_ALL": "C.UTF-8",
            "TERM": "screen",
            "ALL_PROXY": self._socks and f"socks5h://{self._socks}",
        }
        words = ["env", *(f"{name}={value}" for name, value in home.items())]
        size = ("-x", "250", "-y", "60")
        words += ["profanity", "-l", "DEBUG", "-a", "judge"]
        self._known = len(self._trace())
        await self._tmux("new-session", "-d", *size, *words)
        try:
            await self.see("logged in successfully")
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop(is_shown=error is not None)

    async def _stop(self, *, is_shown: bool = True) -> None:
        with contextlib.suppress(ChildProcessError):  # tmux ends with Profanity
            if is_shown:
                print(await self.screen())  # noqa: T201 - pytest shows it on failure
            await self.type("/quit")
            for _ in range(100):
                await self._tmux("has-session")
                await asyncio.sleep(0.1)
            await self._tmux("kill-server")

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(text)
            path.chmod(0o700)

    async def _tmux(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("tmux", "-S", "tmux", "-f", os.devnull, *words),
            cwd=self._folder,  # the path of a socket has to be short
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if process.returncode:
            raise ChildProcessError(f"tmux {words[0]}: {errors.decode()}")
        return output.decode()

    async def type(self, line: str) -> None:
        await self._tmux("send-keys", "-l", "--", line)
        await self._tmux("send-keys", "Enter")

    async def write(self, to: str, text: str) -> None:
        """Send a message as the chat window is set: see start_omemo."""
        await self.type(f"/msg {to} {text}")

    async def compose(self, to: str, text: str) -> None:
        """Send a message of several lines."""
        (self._folder / "draft").write_text(text)
        await self.type(f"/msg {to}")
        await self.type("/editor")
        await self.see(text.replace("\n", "⏎"))
        await self._tmux("send-keys", "Enter")

    async def start_omemo(self, to: str, fingerprint: str) -> None:
        """Encrypt from now on, for a device that was compared.

        Profanity takes the time that it needs for this, and does not keep what
        is written meanwhile.
        """
        await self.type(f"/omemo start {to}")
        await self.see("[OMEMO]")
        assert await self.fingerprint(to) == fingerprint
        dashed = "-".join(fingerprint[n : n + 8] for n in range(0, 64, 8))
        await self.type(f"/omemo trust {to} {dashed}")

        async def has_session() -> bool:
            paths = (self._folder / "data/profanity/omemo").rglob("sessions.txt")
            return any(to in path.read_text() for path in paths)

        await until("Profanity begins a session", has_session)

    def _trace(self) -> str:
        path = self._folder / "data/profanity/logs/profanity.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def learn_devices(self, of: str) -> None:
        """Wait until it knows somebody's devices; until then it sends nothing."""
        sign = f"Setting device list for {of}"

        async def is_learnt() -> bool:
            return sign in self._trace()[self._known :]

        await until(f"Profanity learns the devices of {of}", is_learnt)

    async def screen(self) -> str:
        return await self._tmux("capture-pane", "-p", "-J")

    async def see(self, text: str) -> None:
        async def is_seen() -> bool:
            return text in await self.screen()

        await until(f"Profanity shows {text!r}", is_seen)

    async def join(self, room: str) -> None:
        """Enter a room that lets us in soon."""
        nick = JID(self.jid).local

        async def is_in() -> bool:
            await self.type(f"/join {room} nick {nick}")
            await asyncio.sleep(1)
            return f"joined the room as {nick}" in await self.screen()

        await until(f"{nick} is in the room", is_in)

    def numbers_of_keys(self) -> set[str]:
        """Return for which devices the keys were that it sent or got in rooms."""
        messages = re.findall(
            r"<message[^>]* type=.groupchat.[^>]*>.*?</message>", self._trace()
        )
        return {
            number
            for message in messages
            for number in re.findall(r"<key rid=.(\d+).", message)
        }

    def log(self) -> list[Logged]:
        """Return its chat log, or nothing while it writes there.

        It does not wait for readers: a message that it cannot write at once is
        missing for ever. So this reads without a lock (immutable).
        """
        paths = list((self._folder / "data/profanity/database").rglob("*.db"))
        if not paths:
            return []
        query = "SELECT from_jid, message, encryption FROM ChatLogs ORDER BY id"
        uri = f"file:{paths[0]}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            try:
                return list(database.execute(query))
            except sqlite3.DatabaseError:
                return []

    async def read(self, sender: str, *texts: str) -> None:
        """Wait until it read exactly these texts of a sender, so far."""
        expected = [(sender, text, "omemo") for text in texts]

        async def is_read() -> bool:
            got = [entry for entry in self.log() if entry[0] == sender]
            assert got == expected[: len(got)]
            return got == expected

        await until(f"Profanity reads {texts}", is_read)

    async def make_keys(self) -> None:
        """Make OMEMO keys and announce the device."""
        await self.type("/omemo gen")
        await self.see("Your Device ID is")
        await self.type("/omemo clear_device_list")
        await self.see("Going to publish own device ID")

    async def fingerprint(self, of: str = "") -> str:
        """Return what it shows, without the dashes."""
        whose = f"{of}'s" if of else "Your"
        shown = re.compile(rf"{re.escape(whose)} OMEMO fingerprint: ([0-9a-f-]+)")
        found: list[str] = []

        async def is_shown() -> bool:
            await self.type(f"/omemo fingerprint {of}".rstrip())
            found[:] = shown.findall(await self.screen())
            return found != []

        await self.type("/win 1")
        await until(f"Profanity knows the fingerprint of {of or 'itself'}", is_shown)
        return found[-1].replace("-", "")


class Pair:
    """Alice with our client, Bob with Profanity, on one server."""

    def __init__(self, prosody: Prosody, folder: Path) -> None:
        self.alice = JID(f"alice@{prosody.onion}")
        self.bob = JID(f"bob@{prosody.onion}")
        self._prosody = prosody
        self._folder = folder
        self.https_port = prosody.options.ports.https
        ports = {5280: prosody.http_port, 443: self.https_port}
        self._dialer = LoopbackDialer(prosody.c2s_port, ports=ports)

    async def register(self) -> None:
        for jid in (self.alice, self.bob):
            invite = await self._prosody.invite(jid.local)
            await register(invite, jid.local, PASSWORD, tor=self._dialer)

    async def close_nodes(self) -> None:
        """Be a server as others are: who publishes decides who may read."""
        lua = (
            f'require "core.modulemanager".unload("{self.alice.domain}", "omemo_open")'
        )
        await ask(self._prosody.data, f'{lua} return ""')

    def client(self) -> Client:
        account = Account(
            profile="alice",
            folder=self._folder / "alice",
            jid=self.alice,
            password=PASSWORD,
            trust=Trust.BTBV,
            certificate=self._prosody.certificate_fingerprint,
        )
        return Client(account, tor=self._dialer)

    def profanity(self, socks: str = "") -> Profanity:
        port = self._prosody.c2s_port
        return Profanity(self.bob, self._folder / "bob", port, socks)

    async def befriend(self, client: Client, profanity: Profanity) -> None:
        await profanity.make_keys()
        await client.add_contact(self.bob)
        await profanity.see(f"Received authorization request from {self.alice}")
        await profanity.type(f"/sub allow {self.alice}")
        await profanity.type(f"/sub request {self.alice}")
        await self.see_device(client)
        await profanity.start_omemo(self.alice, client.fingerprint)

    async def see_device(self, client: Client) -> None:
        async def is_seen() -> bool:
            return len(await client.devices(self.bob)) == 1

        await until("our client sees the device of Profanity", is_seen)


async def take(events: AsyncIterator[Event]) -> Event:
    """Return the next event, but for new contacts and Profanity's receipts."""
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            if not isinstance(event, ContactAccepted | Receipt):
                return event
    raise AssertionError("the client has ended")


async def take_text(events: AsyncIterator[Event]) -> str:
    event = await take(events)
    assert isinstance(event, Message), event
    return event.text


async def take_said(events: AsyncIterator[Event]) -> Message:
    """Return the next message, whatever else is told before it."""
    while not isinstance(event := await take(events), Message):
        assert isinstance(event, RoomEvent), event
    return event


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with Prosody(tmp_path / "server") as prosody:
        pair = Pair(prosody, tmp_path)
        await pair.register()
        yield pair


async def test_profanity_reads_our_first_message_and_the_next(pair: Pair) -> None:
    texts = ["grüß dich 🧅", "zwei\nZeilen\n\nund drei", "  <b>&amp; ]]>", "ende"]
    async with pair.client() as client, pair.profanity() as profanity:
        await pair.befriend(client, profanity)
        for text in texts:
            delivery = await client.send(pair.bob, text)
            assert (delivery.state, delivery.devices) == (DeliveryState.ACKED, 1)

        await profanity.read(pair.alice, *texts)


async def test_we_read_the_first_message_of_profanity_and_the_next(pair: Pair) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await pair.befriend(client, profanity)
        events = client.events()
        for text in ("grüß dich 🧅", "zwei", "<b>&amp; drei"):
            await profanity.write(pair.alice, text)
            assert await take_text(events) == text
        for number in range(3):
            await client.send(pair.bob, f"to {number}")
            await profanity.read(pair.alice, *(f"to {n}" for n in range(number + 1)))
            await profanity.write(pair.alice, f"fro {number}")
            assert await take_text(events) == f"fro {number}"


async def test_both_show_the_same_fingerprints(pair: Pair) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await pair.befriend(client, profanity)
        await client.send(pair.bob, "hello")
        await profanity.read(pair.alice, "hello")
        (device,) = await client.devices(pair.bob)

        assert await profanity.fingerprint() == device.fingerprint
        assert await profanity.fingerprint(pair.alice) == client.fingerprint


async def test_talk_goes_on_after_each_side_was_started_again(pair: Pair) -> None:
    async with pair.profanity() as profanity:
        async with pair.client() as client:
            await pair.befriend(client, profanity)
            await client.send(pair.bob, "one")
            await profanity.read(pair.alice, "one")
        async with pair.client() as client:
            events = client.events()
            await client.send(pair.bob, "we are back")
            await profanity.read(pair.alice, "one", "we are back")
            await profanity.write(pair.alice, "welcome")
            assert await take_text(events) == "welcome"
    async with pair.client() as client, pair.profanity() as profanity:
        events = client.events()
        await profanity.learn_devices(pair.alice)
        await profanity.write(pair.alice, "both are back")
        # It was read, and not handled when we left.
        assert await take_text(events) == "welcome"
        assert await take_text(events) == "both are back"
        await client.send(pair.bob, "so we are")
        await profanity.read(pair.alice, "one", "we are back", "so we are")


async def test_messages_wait_for_who_is_away(pair: Pair) -> None:
    async with pair.client() as client:
        events = client.events()
        async with pair.profanity() as profanity:
            await pair.befriend(client, profanity)
            await profanity.write(pair.alice, "hello")
            assert await take_text(events) == "hello"
        await client.send(pair.bob, "one while away")
        await client.send(pair.bob, "two while away")
    async with pair.profanity() as profanity:
        await profanity.read(pair.alice, "one while away", "two while away")
        await profanity.learn_devices(pair.alice)
        await profanity.write(pair.alice, "three while away")
        await profanity.write(pair.alice, "four while away")
        await profanity.see("four while away")
    async with pair.client() as client:
        events = client.events()
        texts = [await take_text(events) for _ in range(3)]

    # "hello" was read, and not handled when we left.
    assert texts == ["hello", "three while away", "four while away"]


async def test_a_request_of_profanity_is_accepted(pair: Pair) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await profanity.make_keys()
        events = client.events()
        await profanity.type(f"/sub request {pair.alice}")
        request = await take(events)
        await client.accept_contact(pair.bob)
        await profanity.see(f"Received authorization request from {pair.alice}")
        await profanity.type(f"/sub allow {pair.alice}")
        await pair.see_device(client)
        await client.send(pair.bob, "hello")
        await profanity.read(pair.alice, "hello")

    assert isinstance(request, ContactRequest)
    assert request.sender == pair.bob


async def test_a_stranger_writes_to_profanity_and_is_read(pair: Pair) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await profanity.make_keys()
        await pair.see_device(client)
        delivery = await client.send(pair.bob, "hello")
        await profanity.read(pair.alice, "hello")

    assert (delivery.state, delivery.devices) == (DeliveryState.ACKED, 1)


async def test_a_stranger_with_profanity_is_read(pair: Pair) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await profanity.make_keys()
        await profanity.start_omemo(pair.alice, client.fingerprint)
        await profanity.write(pair.alice, "hello")

        assert await take_text(client.events()) == "hello"


async def test_who_cannot_read_the_keys_of_profanity_is_told_that_nothing_was_sent(
    pair: Pair,
) -> None:
    await pair.close_nodes()
    async with pair.client() as client, pair.profanity() as profanity:
        await profanity.make_keys()
        with pytest.raises(NoDevicesError) as caught:
            await client.send(pair.bob, "hello")

    assert f"contact add {pair.bob}" in str(caught.value)


async def test_who_closes_their_keys_is_heard_by_strangers_and_not_understood(
    pair: Pair,
) -> None:
    await pair.close_nodes()
    async with pair.client() as client, pair.profanity() as profanity:
        await profanity.make_keys()
        await profanity.write(pair.alice, "in the clear")
        await profanity.start_omemo(pair.alice, client.fingerprint)
        await profanity.write(pair.alice, "hello")
        events = client.events()
        got = [await take(events), await take(events)]

    reasons = [event.reason for event in got if isinstance(event, Undecryptable)]
    assert reasons[0] == "it was sent without encryption"
    assert "for contacts only" in reasons[1]


async def test_lines_of_profanity_arrive_as_they_are(pair: Pair) -> None:
    text = "eins\nzwei\n\n🧅 vier"
    async with pair.client() as client, pair.profanity() as profanity:
        await pair.befriend(client, profanity)
        await profanity.compose(pair.alice, text)

        assert await take_text(client.events()) == text


async def test_receipts_that_profanity_asks_for_and_sends_disturb_nobody(
    pair: Pair,
) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await profanity.type("/receipts request on")
        await profanity.type("/receipts send on")
        await pair.befriend(client, profanity)
        events = client.events()
        for number in range(3):
            await profanity.write(pair.alice, f"fro {number}")
            assert await take_text(events) == f"fro {number}"
            await client.send(pair.bob, f"to {number}")
        await profanity.read(pair.alice, "to 0", "to 1", "to 2")


async def test_plain_text_of_profanity_is_not_passed_off_as_a_message(
    pair: Pair,
) -> None:
    async with pair.client() as client, pair.profanity() as profanity:
        await pair.befriend(client, profanity)
        events = client.events()
        await profanity.write(pair.alice, "secret")
        assert await take_text(events) == "secret"
        await profanity.type("/omemo end")
        await profanity.write(pair.alice, "in the clear")
        event = await take(events)

    assert isinstance(event, Undecryptable)
    assert event.reason == "it was sent without encryption"


async def test_profanities_in_a_room_read_what_came_with_their_own_keys_alone(
    tmp_path: Path,
) -> None:
    async with Prosody(tmp_path / "server") as prosody, AsyncExitStack() as stack:
        alice, bob, carol = [
            await stack.enter_async_context(
                Profanity(jid, tmp_path / jid.local, prosody.c2s_port)
            )
            for name in ("alice", "bob", "carol")
            for jid in [await prosody.add_account(name, PASSWORD)]
        ]
        room = f"room@muc.{prosody.onion}"
        for one in (alice, bob, carol):
            await one.make_keys()
        for reader in (bob, carol):
            await alice.type(f"/sub request {reader.jid}")
            await reader.see(f"Received authorization request from {alice.jid}")
            await reader.type(f"/sub allow {alice.jid}")
            await alice.start_omemo(reader.jid, await reader.fingerprint())
        await alice.type(f"/join {room} nick alice")
        await alice.see("Room locked")
        await alice.type("/room accept")
        await alice.see("Room unlocked")
        for reader in (bob, carol):
            await alice.type(f"/affiliation set member {reader.jid}")
            await reader.join(room)
        await alice.type("/omemo start")
        await alice.see("[OMEMO]")

        for text in ("first", "second"):
            await alice.type(text)
            await bob.see(f"alice: {text}")
            await carol.see(f"alice: {text}")

        for reader in (bob, carol):
            await reader.read(room, "first", "second")
        assert len(alice.numbers_of_keys()) == 2
        both = bob.numbers_of_keys() | carol.numbers_of_keys()
        assert both == alice.numbers_of_keys()
        assert len(bob.numbers_of_keys()) == 1


async def test_profanity_and_we_talk_in_a_room_of_ours(pair: Pair) -> None:
    room_jid = f"friends@muc.{pair.alice.domain}"
    async with pair.client() as client, pair.profanity() as profanity:
        await pair.befriend(client, profanity)
        events = client.events()
        room = await client.create_room(room_jid)
        await room.invite(pair.bob)
        await profanity.join(room_jid)
        for text in ("welcome", "grüß dich 🧅\nzwei"):
            delivery = await room.send(text)
            assert (delivery.devices, delivery.skipped) == (1, ())
        await profanity.read(room_jid, "welcome", "grüß dich 🧅\nzwei")
        await profanity.type("/omemo start")
        await profanity.see("[OMEMO]")
        await profanity.type("thank you")
        heard = await take_said(events)

    assert (heard.text, heard.sender, heard.room) == ("thank you", pair.bob, room_jid)


@pytest.fixture
async def far(pair: Pair) -> AsyncIterator[ChaosProxy]:
    """The way of Profanity's libcurl: to the onion's port for files in TLS."""
    async with ChaosProxy(routes={str(pair.alice.domain): pair.https_port}) as proxy:
        yield proxy


async def test_profanity_fetches_a_file_of_ours_and_decrypts_it(
    pair: Pair, far: ChaosProxy, tmp_path: Path
) -> None:
    source, saved = tmp_path / "plan.bin", tmp_path / "saved.bin"
    source.write_bytes(secrets.token_bytes(300_001))
    async with pair.client() as client, pair.profanity(far.socks) as profanity:
        await pair.befriend(client, profanity)
        await client.send_file(pair.bob, source)

        async def is_logged() -> bool:
            return len(profanity.log()) == 1

        async def is_saved() -> bool:
            return saved.exists() and saved.read_bytes() == source.read_bytes()

        await until("Profanity reads the link", is_logged)
        [(sender, text, encryption)] = profanity.log()
        await profanity.type("/win 2")
        await profanity.type(f"/url save {text} {saved}")
        await until("Profanity has the file", is_saved)

    assert (sender, encryption) == (pair.alice, "omemo")
    assert [each.port for each in far.requests] == [443]


async def test_we_fetch_a_file_of_profanity_and_decrypt_it(
    pair: Pair, far: ChaosProxy, tmp_path: Path
) -> None:
    source = tmp_path / "plan.bin"
    source.write_bytes(secrets.token_bytes(300_001))
    async with pair.client() as client, pair.profanity(far.socks) as profanity:
        await pair.befriend(client, profanity)
        await profanity.type("/win 2")
        await profanity.type(f"/sendfile {source}")
        message = await take_said(client.events())
        assert message.attachment is not None
        saved = await message.attachment.save(tmp_path / "alice")

    assert saved.read_bytes() == source.read_bytes()
    assert {each.port for each in far.requests} == {443}
