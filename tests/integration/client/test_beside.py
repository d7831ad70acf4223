"""Commands beside the process that holds an account: they go through its socket."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Correction, Message, Reaction
from xmpp_onion.agent.desk import serve
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
        (sent,) = await command(account, "send", bob.jid, "-m", "helo")
        name = str(sent["id"])
        await command(account, "send", bob.jid, "-m", "hello", "--correct", name)
        await command(account, "react", bob.jid, name, "+")
        events = bob.events()
        async with asyncio.timeout(60):
            said = [await anext(events) for _ in range(3)]

    message, correction, reaction = said
    assert isinstance(message, Message)
    assert isinstance(correction, Correction)
    assert (correction.target, correction.text) == (name, "hello")
    assert isinstance(reaction, Reaction)
    assert (reaction.target, tuple(reaction.emojis)) == (name, ("+",))
