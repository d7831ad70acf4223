"""Commands beside the process that holds an account: they go through its socket."""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Correction, Message, Reaction, Retraction
from xmpp_onion.agent.desk import serve
from xmpp_onion.agent.requests import perform
from xmpp_onion.cli.json_lines import faults
from xmpp_onion.e2ee import OMEMO_2, Nodes
from xmpp_onion.e2ee.versions import bundle_node, list_node
from xmpp_onion.seal import Secret
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody
DIGITS = "1a" * 32
SECRET = Secret.passphrase("correct horse battery staple")


async def command(account: Account, *words: str) -> list[dict[str, object]]:
    """Run a command that nobody tells the passphrase of the account."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "xmpp_onion", "--data-dir", str(account.folder.parent),
        "--profile", account.profile, "--json", *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, (lines, err)
    assert [fault for line in lines for fault in faults(line)] == []
    return lines


async def test_decisions_about_keys_need_no_passphrase_beside_the_holder(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = (await enrol("alice")).encrypted(SECRET)
    account.save()
    bob = account.jid.bare.replace("alice", "bob")
    async with Client(account, tor=wire) as alice, serve(alice):
        (pinned,) = await command(account, "trust", "pin", bob, DIGITS)
        (turned,) = await command(account, "trust", "automatic", "off")

    assert (pinned["event"], pinned["fingerprint"]) == ("pinned", DIGITS)
    assert (turned["event"], turned["on"]) == ("automatic-trust", False)
    kept = Account.load("alice", account.folder.parent, secret=SECRET)
    assert kept.pins[bob] == frozenset({DIGITS})
    assert not kept.automatic_trust


async def test_a_message_is_corrected_and_reacted_to_beside_the_holder(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with (
        Client(account, tor=wire) as alice,
        serve(alice),
        Client(await enrol("bob"), tor=wire) as bob,
    ):
        whom = ("--mention", bob.jid)
        (sent,) = await command(account, "send", bob.jid, "-m", "helo", *whom)
        name = str(sent["id"])
        await command(account, "send", bob.jid, "-m", "hello", "--correct", name)
        await command(account, "react", bob.jid, name, "+")
        await command(account, "retract", bob.jid, name)
        events = bob.events()
        async with asyncio.timeout(60):
            said = [await anext(events) for _ in range(4)]

    message, correction, reaction, retraction = said
    assert isinstance(message, Message)
    assert message.mentions_me
    assert isinstance(correction, Correction)
    assert (correction.target, correction.text) == (name, "hello")
    assert isinstance(reaction, Reaction)
    assert (reaction.target, tuple(reaction.emojis)) == (name, ("+",))
    assert isinstance(retraction, Retraction)
    assert retraction.target == name


async def test_a_timer_is_set_beside_the_holder_and_holds_at_once(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with Client(account, tor=wire) as alice, serve(alice):
        room = f"friends@muc.{alice.jid.domain}"
        (set_,) = await command(account, "room", "timer", "friends", "1d")
        (shown,) = await command(account, "room", "timer", room)
        timer = await alice.timer(room)

    assert set_ == shown
    assert (shown["jid"], shown["seconds"]) == (room, 86400)
    assert timer == timedelta(days=1)


async def test_the_doctor_asks_the_holder_how_it_is(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = (await enrol("alice")).encrypted(SECRET)
    account.save()
    async with Client(account, tor=wire) as alice, serve(alice):
        lines = await command(account, "doctor", "--offline")

    found = {line["name"]: line for line in lines}
    assert "it answers" in str(found["account"]["what"])
    assert "none of them beside Tor" in str(found["leaks"]["what"])
    assert "published and read back: 1 device, " in str(found["keys"]["what"])
    assert all(line["ok"] for line in lines)


@pytest.mark.parametrize("fault", ["list", "bundle"])
async def test_keys_that_the_server_does_not_show_are_a_fault(
    enrol: Enrol, wire: LoopbackDialer, fault: str
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        number = alice._omemo.device_id
        list_name, _ = list_node(OMEMO_2)
        bundle_name, _ = bundle_node(OMEMO_2, number)
        name = list_name if fault == "list" else bundle_name
        alice._omemo._publisher._is_withdrawn = True  # it would put it back at once
        await Nodes(alice._session.xmpp).delete(name)
        _, keys = await perform(alice, {"do": "check"})

    assert (keys["name"], keys["ok"], keys["code"]) == ("keys", False, 4)
    assert OMEMO_2 in str(keys["why"])


async def test_a_connection_beside_tor_is_a_fault(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    async with Client(await enrol("alice"), tor=wire) as alice:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(("127.0.0.1", 53))  # a resolver's; sends nothing yet
            leaks, _ = await perform(alice, {"do": "check"})

    assert (leaks["name"], leaks["ok"], leaks["code"]) == ("leaks", False, 3)
    assert "127.0.0.1 port 53" in str(leaks["why"])
