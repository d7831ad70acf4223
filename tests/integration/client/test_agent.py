import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Trust
from xmpp_onion.agent.caller import END, ask, ask_at, socket_path
from xmpp_onion.agent.desk import serve
from xmpp_onion.agent.hatch import Share
from xmpp_onion.chat import Line
from xmpp_onion.cli.json_lines import faults
from xmpp_onion.errors import SessionError, StorePermissionError
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.transport import listen_local, open_local

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody


async def answers(folder: Path, request: Line) -> list[Line]:
    lines = [line async for line in ask(folder, request)]
    assert [fault for line in lines for fault in faults(line)] == []
    return lines


async def test_others_send_through_the_process_that_holds_the_account(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
        serve(alice),
    ):
        (line,) = await answers(
            alice_account.folder,
            {"do": "send", "to": [bob.jid], "text": "hi", "wait": "ack"},
        )
        message = await anext(bob.messages())

    assert (line["event"], line["state"], line["to"]) == ("sent", "acked", bob.jid)
    assert (message.text, message.id) == ("hi", line["id"])


async def test_each_recipient_gets_a_line_of_its_own(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account, bob_account = await enrol("alice"), await enrol("bob")
    nobody = f"nobody@{bob_account.jid.domain}"
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(bob_account, tor=wire) as bob,
        serve(alice),
    ):
        lines = await answers(
            alice_account.folder,
            {"do": "send", "to": [nobody, bob.jid], "text": "hi"},
        )

    assert [(line["event"], line["to"]) for line in lines] == [
        ("error", nobody),
        ("sent", bob.jid),
    ]
    assert lines[0]["code"] == 4


async def test_trust_devices_and_contacts_are_asked_for_the_same_way(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    alice_account = await enrol("alice", Trust.MANUAL)
    async with (
        Client(alice_account, tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        serve(alice),
    ):
        folder = alice_account.folder
        (own,) = await answers(folder, {"do": "devices"})
        (other,) = await answers(folder, {"do": "devices", "jid": bob.jid})
        decided = {"jid": bob.jid, "fingerprint": bob.fingerprint}
        (verified,) = await answers(folder, {"do": "verify", **decided})
        (distrusted,) = await answers(folder, {"do": "distrust", **decided})
        contacts = await answers(folder, {"do": "contacts"})
        (asked,) = await answers(folder, {"do": "add-contact", "jid": bob.jid})

    assert (own["own"], own["fingerprint"]) == (True, alice.fingerprint)
    assert (other["own"], other["trust"]) == (False, "undecided")
    assert verified["trust"] == "verified"
    assert distrusted["trust"] == "distrusted"
    assert contacts == []
    assert asked["state"] == "asked"


@pytest.mark.parametrize("request_", [{"do": "nonsense"}, {}, {"do": 3}])
async def test_an_unknown_request_is_refused(
    enrol: Enrol, wire: LoopbackDialer, request_: Line
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice, serve(alice):
        (line,) = await answers(account.folder, request_)

    assert (line["event"], line["code"]) == ("error", 1)


@pytest.mark.parametrize(
    "junk",
    [
        b"not json\n",
        b"[]\n",
        b"\n",
        b"x" * 2_000_000,
        b"[" * 100_000 + b"\n",
        b'{"do": "send", "to": [], "text": "x", "timeout": 1' + b"0" * 400 + b"}\n",
    ],
    ids=["text", "list", "nothing", "endless", "deep", "for ever"],
)
async def test_junk_ends_the_connection_and_not_the_holder(
    enrol: Enrol, wire: LoopbackDialer, junk: bytes
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice, serve(alice):
        reader, writer = await open_local(
            socket_path(account.folder), limit_bytes=1_000
        )
        writer.write(junk)
        answer = b""
        try:
            answer = await reader.read()
        except ConnectionError:
            pass  # it hung up while we were still writing
        finally:
            writer.close()

        assert b'"end"' not in answer
        assert await answers(account.folder, {"do": "contacts"}) == []


async def test_the_socket_is_for_this_user_alone_and_goes_with_the_holder(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    path = socket_path(account.folder)
    path.touch()  # of a process that was killed
    async with Client(account, tor=wire) as alice, serve(alice):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        await answers(account.folder, {"do": "contacts"})


async def test_an_answer_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps({"v": 1, "event": "sent"}).encode() + b"\n")
        writer.close()

    server = await asyncio.start_unix_server(half, socket_path(tmp_path))
    async with server:
        with pytest.raises(SessionError, match="ended while it was asked"):
            await answers(tmp_path, {"do": "send"})


async def test_a_folder_with_a_long_name_can_be_asked_too(tmp_path: Path) -> None:
    async def done(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(END).encode() + b"\n")
        writer.close()

    folder = tmp_path / ("x" * 120)
    folder.mkdir(mode=0o700)
    sock = listen_local(socket_path(folder))
    async with await asyncio.start_unix_server(done, sock=sock):
        assert await answers(folder, {"do": "contacts"}) == []
        assert socket_path(folder).parent == folder


async def test_nothing_is_said_to_a_socket_in_a_folder_of_somebody_else(
    tmp_path: Path,
) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    folder = tmp_path / "account"
    folder.mkdir(mode=0o700)
    server = await asyncio.start_unix_server(listen, socket_path(folder))
    folder.chmod(0o755)
    async with server:
        with pytest.raises(StorePermissionError):
            await answers(folder, {"do": "send", "to": [], "text": "secret"})

    assert heard == []


async def test_an_agent_says_how_it_is_and_ends_when_it_is_asked_to(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    stop = asyncio.Event()
    async with Client(account, tor=wire) as alice, serve(alice, stop=stop):
        (status,) = await answers(account.folder, {"do": "status"})
        (stopping,) = await answers(account.folder, {"do": "stop"})
        async with asyncio.timeout(60):
            await stop.wait()

    since = status.pop("since")
    assert isinstance(since, str)
    assert status == {
        "v": 1, "event": "agent", "state": "connected", "jid": account.jid,
        "agent": True, "queue": 0, "spooled": 0, "held": [], "tor": None,
        "pid": os.getpid(), "lent": None,
    }  # fmt: skip
    assert stopping["state"] == "stopping"


async def test_what_a_person_runs_is_not_ended_by_another_command(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice, serve(alice):
        (status,) = await answers(account.folder, {"do": "status"})
        (refused,) = await answers(account.folder, {"do": "stop"})

    assert status["agent"] is False
    assert (refused["event"], refused["code"]) == ("error", 7)
    assert str(os.getpid()) in str(refused["fix"])


async def test_a_token_sends_to_who_was_named_and_does_nothing_else(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account = await enrol("alice")
    share = Share(tmp_path / "shared.sock", os.getegid())

    async def ask_there(token: object, **request: object) -> Line:
        asked: Line = {"do": "send", "text": "disk full", "token": token, **request}
        async with asyncio.timeout(60):
            (line,) = [line async for line in ask_at(share.path, asked)]
        return line

    async with (
        Client(account, tor=wire) as alice,
        Client(await enrol("bob"), tor=wire) as bob,
        serve(alice, share=share),
    ):
        added: Line = {"do": "add-token", "name": "monitor", "to": [bob.jid]}
        (made,) = await answers(account.folder, added)
        token = made["token"]
        sent = await ask_there(token, to=[bob.jid])
        other = await ask_there(token, to=[alice.jid])
        read = await ask_there(token, do="devices")
        guess = await ask_there("xmpp-onion-guess", to=[bob.jid])
        await answers(account.folder, {"do": "remove-token", "name": "monitor"})
        late = await ask_there(token, to=[bob.jid])
        mode = stat.S_IMODE(share.path.stat().st_mode)
        message = await anext(bob.messages())

    assert (sent["event"], sent["id"], mode) == ("sent", message.id, 0o660)
    assert [line["code"] for line in (other, read, guess, late)] == [6] * 4
    assert not share.path.exists()


async def test_nothing_is_sent_to_some_if_one_of_them_is_no_address(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice, serve(alice):
        to = [alice.jid, "bob@example.org"]
        (line,) = await answers(account.folder, {"do": "send", "to": to, "text": "x"})
        queued = await alice.queued()

    assert (line["event"], line["code"], queued) == ("error", 2, 0)


async def test_who_is_no_member_is_not_said_to_be_taken_out(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    bob = account.jid.replace("alice", "bob")
    async with Client(account, tor=wire) as alice, serve(alice):
        await alice.create_room(f"friends@muc.{alice.jid.domain}")
        asked: Line = {"do": "kick-from-room", "room": "friends", "people": [bob]}
        (refused,) = await answers(account.folder, asked)
        (banned,) = await answers(account.folder, {**asked, "ban": True})
        (outside,) = await answers(account.folder, {**asked, "room": "elsewhere"})

    assert (refused["code"], banned["state"]) == (5, "outcast")
    assert bob in str(refused["why"])
    assert "xmpp-onion room members friends@muc." in str(refused["fix"])
    assert "we are not in elsewhere@muc." in str(outside["why"])
    assert "xmpp-onion room join elsewhere@muc." in str(outside["fix"])
