"""What the server keeps of its people, how long, and who may still read it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.integration.server.uploads import upload
from xmpp_onion.address import JID
from xmpp_onion.server import Archive, Prosody, initialise
from xmpp_onion.server.console import ask
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

MAM = "urn:xmpp:mam:2"
DAY = 86400
# Lets days pass, and does what is done once a day.
LATER = """
local now = os.real or os.time
os.real = now
os.time = function (when) return when and now(when) or now() + {seconds} end
local runner = require "util.async".runner(function (task) task:run(os.time()) end)
for host in pairs(prosody.hosts) do
	local tasks = require "core.modulemanager".get_items("task", host)
	for _, task in ipairs(tasks or {{ }}) do runner:run(task) end
end
return ""
"""


class People:
    """Alice and Bob, and what the server has of them on the disk."""

    def __init__(self, prosody: Prosody) -> None:
        self.prosody = prosody

    async def register(self) -> None:
        for name in ("alice", "bob"):
            await self.prosody.add_account(name, f"secret-of-{name}")

    def log_in(self, name: str) -> LightMember:
        jid = JID(f"{name}@{self.prosody.onion}")
        return LightMember(jid, f"secret-of-{name}", self.prosody.c2s_port)

    async def say(self, text: str) -> None:
        """Alice writes to Bob, who is away."""
        async with self.log_in("alice") as alice:
            alice.send(
                f"<message type='chat' to='bob@{self.prosody.onion}' id='m'>"
                f"<body>{text}</body></message>"
            )
            await alice.ask("<ping xmlns='urn:xmpp:ping'/>", to=str(self.prosody.onion))

    async def come_back(self, *, by_archive: bool) -> list[str]:
        """Bob logs in; return what he was sent because he was away."""
        got: list[str] = []

        def is_last(stanza: ET.Element) -> bool:
            if body := stanza.findtext("{jabber:client}body"):
                got.append(body)
            return stanza.get("id") == "last"

        async with self.log_in("bob") as bob:
            if by_archive:
                await bob.ask(f"<query xmlns='{MAM}'/>", kind="set")
            bob.send("<presence/><iq type='get' id='last'><ping xmlns='x'/></iq>")
            await bob.next(is_last)
        return got

    async def let_pass(self, days: float) -> None:
        lua = LATER.format(seconds=int(days * DAY))
        await ask(self.prosody.data, lua)

    def holders(self, text: str) -> list[str]:
        """Return the stores that hold something."""
        return sorted(
            path.parent.name
            for path in self.prosody.data.rglob("*")
            if path.is_file() and text.encode() in path.read_bytes()
        )


@pytest.fixture
async def people(prosody: Prosody) -> People:
    made = People(prosody)
    await made.register()
    return made


async def until_gone(people: People, text: str, *stores: str) -> None:
    async with asyncio.timeout(60):
        while set(stores) & set(people.holders(text)):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)


async def test_archives_and_files_are_gone_after_their_time(
    people: People, prosody: Prosody
) -> None:
    room = f"room@muc.{prosody.onion}"
    await people.say("canary-talk")
    async with people.log_in("alice") as alice:
        await upload(prosody, alice, b"canary-file")
        await alice.create(room, "alice")
        alice.send(
            f"<message type='groupchat' to='{room}'><body>canary-room</body></message>"
        )
        await alice.next_message()
    before = [*people.holders("canary-talk"), *people.holders("canary-room")]
    await people.let_pass(2)
    kept = [*people.holders("canary-talk"), *people.holders("canary-room")]
    files = people.holders("canary-file")

    await people.let_pass(4)
    await until_gone(people, "canary-file", "http_file_share")
    await people.let_pass(9)
    await until_gone(people, "canary-talk", "archive")
    await until_gone(people, "canary-room", "muc_log")

    assert before == kept == ["archive", "archive", "offline", "muc_log"]
    assert files == ["http_file_share"]


async def test_what_waits_for_who_reads_the_archive_is_gone_after_its_time(
    people: People,
) -> None:
    await people.say("canary-old")
    fresh = await people.come_back(by_archive=True)
    waiting = people.holders("canary-old")
    await people.let_pass(9)
    await people.say("canary-new")

    old = await people.come_back(by_archive=True)
    left, new = people.holders("canary-old"), people.holders("canary-new")
    again = await people.come_back(by_archive=True)

    assert fresh == []
    assert "offline" in waiting
    assert old == ["canary-old"]  # the archive has it no more: it is not lost
    assert "offline" not in left
    assert "offline" in new
    assert again == []


async def test_who_reads_by_presence_gets_everything_however_old(
    people: People,
) -> None:
    await people.say("canary-old")
    await people.let_pass(30)
    await people.say("canary-new")
    before = people.holders("canary-new")

    got = await people.come_back(by_archive=False)

    assert got == ["canary-old", "canary-new"]
    assert "offline" in before
    assert "offline" not in people.holders("canary")


async def test_messages_in_memory_are_never_on_the_disk(
    prosody_program: str, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    initialise(folder, lambda options: replace(options, archive=Archive.MEMORY))
    async with Prosody(folder, program=prosody_program) as prosody:
        people, room = People(prosody), f"room@muc.{prosody.onion}"
        await people.register()
        await people.say("canary-talk")
        async with people.log_in("alice") as alice:
            await alice.create(room, "alice")
            alice.send(
                f"<message type='groupchat' to='{room}'><body>canary-room</body>"
                "</message>"
            )
            await alice.next_message()
        on_disk = [*people.holders("canary-talk"), *people.holders("canary-room")]
        fetched = await people.come_back(by_archive=False)
        await people.say("canary-lost")
        await prosody.restart()
        lost = await people.come_back(by_archive=False)
        left = people.holders("canary")

    assert on_disk == left == []
    assert fetched == ["canary-talk"]
    assert lost == []


async def test_another_device_that_reads_by_presence_still_gets_what_is_new(
    people: People,
) -> None:
    await people.say("canary")
    by_archive = await people.come_back(by_archive=True)

    assert by_archive == []
    assert await people.come_back(by_archive=False) == ["canary"]


async def test_no_store_is_there_that_the_page_for_operators_does_not_name(
    people: People, prosody: Prosody, root: Path
) -> None:
    page = (root / "docs" / "explanation" / "seized-server.md").read_text()
    room = f"room@muc.{prosody.onion}"
    await prosody.invite()
    await people.say("canary-talk")
    async with people.log_in("alice") as alice:
        await upload(prosody, alice, b"canary-file")
        await alice.create(room, "alice")
        alice.send(
            f"<message type='groupchat' to='{room}'><body>canary-room</body></message>"
        )
        await alice.next_message()
        await alice.publish(
            "eu.siacs.conversations.axolotl.devicelist",
            "<list xmlns='eu.siacs.conversations.axolotl'><device id='7'/></list>",
        )
        alice.send(f"<presence type='subscribe' to='bob@{prosody.onion}'/>")
        await alice.ask("<ping xmlns='urn:xmpp:ping'/>", to=str(prosody.onion))
    await prosody.restart()

    stores = {
        path.parent.name if path.parent.parent != prosody.data else path.name
        for path in prosody.data.rglob("*")
        if path.is_file() and path.parent != prosody.data
    }
    named = {store.partition("_")[0] if store.startswith("pep_") else store
             for store in stores}  # fmt: skip
    assert {name for name in named if f"`{name}`" not in page} == set()
    assert people.holders("secret-of-") == []
