"""Whoever may write can read the keys, whatever the client that published them asked.

The publishers are bare streams: each asks for what some client does.
"""

from xml.etree import ElementTree as ET

import pytest

from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

OLD = "eu.siacs.conversations.axolotl"
NEW = "urn:xmpp:omemo:2"
OMEMO = [f"{OLD}.devicelist", f"{OLD}.bundles:7", f"{NEW}:devices", f"{NEW}:bundles"]
OTHERS = ["urn:xmpp:avatar:metadata", f"{OLD}.bundles:7x", f"x{NEW}:devices", "secret"]
PUBSUB = "http://jabber.org/protocol/pubsub"
OWNER = f"{PUBSUB}#owner"


def form(kind: str, access: str) -> str:
    return (
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        f"<value>{PUBSUB}#{kind}</value></field><field var='pubsub#access_model'>"
        f"<value>{access}</value></field></x>"
    )


async def publish(member: LightMember, node: str, access: str = "") -> None:
    options = access and (
        f"<publish-options>{form('publish-options', access)}</publish-options>"
    )
    await member.ask(
        f"<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='current'>"
        f"<content xmlns='x'>of {node}</content></item></publish>{options}</pubsub>",
        kind="set",
    )


async def can_read(stranger: LightMember, owner: LightMember, node: str) -> bool:
    query = f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>"
    try:
        answer = await stranger.ask(query, to=str(owner.jid))
    except AssertionError as refused:
        if "forbidden" not in str(refused):
            raise
        return False
    return f"of {node}" in ET.tostring(answer, encoding="unicode")


async def access(owner: LightMember, node: str) -> str | None:
    query = f"<pubsub xmlns='{OWNER}'><configure node='{node}'/></pubsub>"
    answer = await owner.ask(query)
    return answer.findtext(
        ".//{jabber:x:data}field[@var='pubsub#access_model']/{jabber:x:data}value"
    )


async def people(prosody: Prosody) -> tuple[LightMember, LightMember]:
    """Somebody, and a stranger to them."""
    alice, bob = [await prosody.add_account(name, "pw") for name in ("alice", "bob")]
    port = prosody.c2s_port
    return LightMember(alice, "pw", port), LightMember(bob, "pw", port)


@pytest.mark.parametrize("asked", ["", "presence", "whitelist", "open"])
async def test_strangers_read_keys_and_no_more_than_that(
    prosody: Prosody, asked: str
) -> None:
    alice, bob = await people(prosody)
    async with alice, bob:
        for node in OMEMO + OTHERS:
            await publish(alice, node, asked)
            await publish(alice, node, asked)  # it is there already

        readable = [node for node in OMEMO + OTHERS if await can_read(bob, alice, node)]
        told = {await access(alice, node) for node in OMEMO}

    assert readable == (OMEMO + OTHERS if asked == "open" else OMEMO)
    assert told == {"open"}


async def test_nobody_closes_their_keys_later_on(prosody: Prosody) -> None:
    alice, bob = await people(prosody)
    closing = [
        f"<pubsub xmlns='{OWNER}'><configure node='{{}}'>"
        f"{form('node_config', access)}</configure></pubsub>"
        for access in ("presence", "whitelist")
    ]
    async with alice, bob:
        for node in [*OMEMO, "secret"]:
            await publish(alice, node, "open")
            for question in closing:
                await alice.ask(question.format(node), kind="set")
                await publish(alice, node)

        readable = [node for node in OMEMO if await can_read(bob, alice, node)]
        secret = await can_read(bob, alice, "secret")

    assert readable == OMEMO
    assert not secret


async def test_keys_that_were_closed_before_are_opened(prosody: Prosody) -> None:
    alice, bob = await people(prosody)
    host = f'"{prosody.onion}"'
    manager = 'require "core.modulemanager"'
    await ask(prosody.data, f'{manager}.unload({host}, "omemo_open") return ""')
    async with alice, bob:
        for node in [*OMEMO, "secret"]:
            await publish(alice, node, "whitelist")
        before = [node for node in OMEMO if await can_read(bob, alice, node)]
        await ask(prosody.data, f'{manager}.load({host}, "omemo_open") return ""')
        loaded = [node for node in OMEMO if await can_read(bob, alice, node)]
        secret = await can_read(bob, alice, "secret")
    await prosody.restart()
    port = prosody.c2s_port
    async with (
        LightMember(alice.jid, "pw", port) as alice,
        LightMember(bob.jid, "pw", port) as bob,
    ):
        started_again = [node for node in OMEMO if await can_read(bob, alice, node)]

    assert before == []
    assert loaded == started_again == OMEMO
    assert not secret


async def test_clients_are_told_that_they_can_ask_for_what_omemo_needs(
    prosody: Prosody,
) -> None:
    alice, bob = await people(prosody)
    question = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
    async with alice, bob:
        of_account = await alice.ask(question, to=str(alice.jid))
        of_server = await alice.ask(question, to=str(prosody.onion))

    # XEP-0384 0.8, sections 5.3.1 and 5.3.2; Profanity asks the server's own name.
    for name in ("publish-options", "multi-items", "persistent-items"):
        assert of_account.find(f".//*[@var='{PUBSUB}#{name}']") is not None, name
    assert of_server.find(f".//*[@var='{PUBSUB}#publish-options']") is not None
