"""Files from the command line, through the process that holds the account."""

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Attachment, Client
from xmpp_onion.agent.desk import serve
from xmpp_onion.server import Prosody
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.prosody


@pytest.fixture
def wire(prosody: Prosody) -> LoopbackDialer:
    """Stands in for Tor: messages and files have ports of their own."""
    return LoopbackDialer(prosody.c2s_port, ports={5280: prosody.http_port})


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | None
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, object]]:
        """What it printed, as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class People:
    """Alice and Bob, whose processes hold their accounts; commands ask those."""

    def __init__(self, folder: Path, alice: Client, bob: Client) -> None:
        self.folder, self.alice, self.bob = folder, alice, bob

    async def run(self, who: str, *words: str, stdin: bytes = b"") -> Done:
        """Run a command as one of them, in the folder ``here``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "xmpp_onion", "--profile", who, "--json", *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder / "here",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(self.folder),
                "XDG_RUNTIME_DIR": str(self.folder / "runtime"),
                "XMPP_ONION_DATA_DIR": str(self.folder / "data"),
            },
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
        assert b"Traceback" not in err
        return Done(process.returncode, out.decode(), err.decode())

    async def sent(self, data: bytes, name: str = "cat.jpg") -> Attachment:
        """Have Alice send a file, and return what Bob got."""
        source = self.folder / name
        source.write_bytes(data)
        done = await self.run("alice", "send", self.bob.jid, "--file", str(source))
        assert done.code == 0, done.err
        message = await anext(self.bob.messages())
        assert message.attachment is not None
        return message.attachment


@pytest.fixture
async def people(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> AsyncIterator[People]:
    for name in ("here", "runtime"):
        (tmp_path / name).mkdir(mode=0o700)
    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        serve(alice),
        serve(bob),
    ):
        yield People(tmp_path, alice, bob)


async def test_a_recording_from_stdin_arrives_with_its_length(people: People) -> None:
    head = bytes.fromhex(
        "52494646ffffffff57415645666d742010000000"
        "01000100401f0000803e00000200100064617461ffffffff"
    )
    sound = head + secrets.token_bytes(16_000 * 3)

    done = await people.run(
        "alice", "send", people.bob.jid, "--voice", "-", stdin=sound
    )

    assert (done.code, done.lines[-1]["event"]) == (0, "sent")
    message = await anext(people.bob.messages())
    got = message.attachment
    assert got is not None
    assert (got.name, got.media_type, got.seconds) == ("voice.wav", "audio/wav", 3.0)
    saved = await got.save(people.folder / "here")
    assert saved.read_bytes() == sound
    assert list((people.folder / "runtime").iterdir()) == []


async def test_a_file_is_padded_if_that_is_asked(people: People) -> None:
    source = people.folder / "cat.jpg"
    source.write_bytes(b"x")

    done = await people.run(
        "alice", "send", people.bob.jid, "--file", str(source), "--pad"
    )

    assert (done.code, done.lines[-1]["event"]) == (0, "sent")
    message = await anext(people.bob.messages())
    assert message.attachment is not None
    assert message.attachment.url.startswith("aesgcm+chunks:")  # one, and full
    saved = await message.attachment.save(people.folder / "here")
    assert saved.read_bytes() == b"x"


async def test_a_file_goes_to_a_room_as_it_goes_to_somebody(people: People) -> None:
    room = await people.alice.create_room(f"friends@muc.{people.alice.jid.domain}")
    await room.invite(people.bob.jid)
    await people.bob.join(room.jid)
    data = secrets.token_bytes(70_000)
    source = people.folder / "cat.jpg"
    source.write_bytes(data)

    done = await people.run("alice", "send", room.jid, "--file", str(source))

    assert (done.code, done.lines[-1]["to"]) == (0, room.jid)
    message = await anext(people.bob.messages())
    assert message.room == room.jid
    assert message.attachment is not None
    saved = await message.attachment.save(people.folder / "here")
    assert saved.read_bytes() == data


async def test_a_file_says_of_itself_neither_type_nor_length(people: People) -> None:
    got = await people.sent(b"RIFF\0\0\0\0WAVE" + bytes(100), "song.wav")

    assert (got.name, got.media_type, got.seconds) == ("song.wav", "", None)


async def test_what_was_sent_is_fetched_and_nothing_is_overwritten(
    people: People,
) -> None:
    data = secrets.token_bytes(70_000)
    url = (await people.sent(data)).url
    here = people.folder / "here"

    first_time = await people.run("bob", "download", "-", stdin=f"{url}\n".encode())
    again = await people.run("bob", "download", url)
    named = await people.run("bob", "download", url, "-o", "other.jpg")
    refused = await people.run("bob", "download", url, "-o", "other.jpg")
    nowhere = await people.run("bob", "download", url, "-o", "photos/")

    assert [done.code for done in (first_time, again, named, refused)] == [0, 0, 0, 2]
    assert (nowhere.code, "no folder photos" in nowhere.out) == (2, True)
    assert first_time.lines[0]["event"] == "progress"
    assert first_time.lines[-1]["event"] == "downloaded"
    assert len({path.name for path in here.iterdir()}) == 3
    assert (here / "other.jpg").read_bytes() == data
    assert all(path.read_bytes() == data for path in here.iterdir())
    assert "not overwritten" in refused.out


async def test_into_a_folder_comes_a_small_file_under_a_name_of_no_meaning(
    people: People,
) -> None:
    data = secrets.token_bytes(70_000)
    url = (await people.sent(data)).url
    photos = people.folder / "here" / "photos"
    photos.mkdir()

    done = await people.run("bob", "download", "-", "-o", "photos/", stdin=url.encode())

    (path,) = photos.iterdir()
    assert (done.code, done.lines[-1]["path"]) == (0, str(path))
    assert path.read_bytes() == data
    assert "cat" not in path.name


async def test_no_link_that_leads_elsewhere_is_followed(
    people: People, wire: LoopbackDialer
) -> None:
    before = len(wire.dialed)
    onion = people.bob.jid.domain
    key = "0" * 88
    for url in (
        f"https://{onion}/x",
        f"https://example.org/x#{key}",
        f"aesgcm://example.org/x#{key}",
        f"aesgcm://127.0.0.1:5280/x#{key}",
        f"aesgcm://{onion}:5280/x#{key[:-1]}",
        f"aesgcm://{onion}:5280/x",
        "file:///etc/passwd",
        "",
    ):
        done = await people.run("bob", "download", url)
        assert (done.code, done.lines[0]["event"]) == (2, "error"), url

    assert len(wire.dialed) == before


async def test_a_file_that_is_gone_or_too_large_leaves_nothing(people: People) -> None:
    url = (await people.sent(bytes(2_000_000))).url
    here = people.folder / "here"

    large = await people.run("bob", "download", url, "--limit", "1")
    gone = await people.run(
        "bob", "download", re.sub(r"/.{8}([^/]*/[^/]*)$", r"/AAAAAAAA\1", url)
    )
    lost = await people.run("bob", "download", url, "-o", "nowhere/cat.jpg")

    assert large.code not in {0, None}
    assert "allowed" in large.out
    assert gone.code not in {0, None}
    assert lost.code == 2
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("what", ["a folder", "missing", "a pipe"])
async def test_what_is_no_file_is_not_sent(people: People, what: str) -> None:
    path = people.folder / "thing"
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)

    done = await people.run("alice", "send", people.bob.jid, "--file", str(path))

    assert done.code not in {0, None}
    assert str(path) in done.out
