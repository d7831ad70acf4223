"""A long archive of a real Prosody: how many questions it takes, and cuts in a page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest

from xmpp_onion.address import JID
from xmpp_onion.errors import SessionError
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.session import Archived, CatchUp, Session
from xmpp_onion.session.archive import Query
from xmpp_onion.testing.visit import Connect

pytestmark = pytest.mark.prosody

TOTAL = 1250


@pytest.fixture
async def account(prosody: Prosody) -> JID:
    """An account for which so many messages lie there, as heavy as OMEMO makes them."""
    await ask(prosody.data, fill(prosody.onion, TOTAL))
    return JID(f"alice@{prosody.onion}")


def fill(onion: str, count: int) -> str:
    """Return what puts messages into alice's archive."""
    return f"""
    local function lib(name)
        local found, library = pcall(require, "prosody."..name);
        return found and library or require(name);
    end
    local st, host = lib "util.stanza", {lua_string(onion)};
    local archive = lib "core.storagemanager".open(host, "archive", "archive");
    for number = 1, {count} do
        local message = st.message({{
            to = "alice@"..host; from = "bob@"..host.."/x"; type = "chat";
            id = ("m%d"):format(number);
        }}):tag("encrypted", {{ xmlns = "eu.siacs.conversations.axolotl" }})
            :tag("header", {{ sid = "1" }})
                :text_tag("key", ("k"):rep(250), {{ rid = "1"; prekey = "true" }})
                :text_tag("key", ("k"):rep(250), {{ rid = "2"; prekey = "true" }})
                :text_tag("iv", ("i"):rep(16)):up()
            :text_tag("payload", ("p"):rep(80)):up()
            :tag("store", {{ xmlns = "urn:xmpp:hints" }}):up();
        assert(archive:append("alice", nil, message, os.time(), "bob@"..host));
    end
    return "";
    """


async def read_on(session: Session, found: list[Archived]) -> AsyncIterator[int]:
    """Read what follows ``found``, as far as it comes; yield the size of each page."""
    catch_up = CatchUp(session.archive, found[-1].id if found else "")
    async with aclosing(catch_up.pages()) as pages:
        async for page in pages:
            found += page.entries
            yield len(page.entries)


def names(found: list[Archived]) -> list[str]:
    return [entry.incoming.id for entry in found if entry.incoming is not None]


async def test_1250_messages_are_two_questions(connect: Connect, account: JID) -> None:
    line = await connect(account.local)
    found = list[Archived]()
    async with asyncio.timeout(60):
        sizes = [size async for size in read_on(line.session, found)]

    assert names(found) == [f"m{number}" for number in range(1, TOTAL + 1)]
    assert sizes == [250, 1000]


async def test_a_page_that_breaks_off_loses_nothing_and_gets_on(
    connect: Connect, account: JID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of it is under way than the server keeps: it does not resume the stream."""
    add, come = Query.add, 0
    session = (await connect(account.local)).session

    def add_and_cut(self: Query, *what: object) -> None:
        nonlocal come
        add(self, *what)  # type: ignore[arg-type] # passed on
        come += 1
        if come in {350, 900}:
            assert session._wire is not None
            session._wire.drop("cut")

    monkeypatch.setattr(Query, "add", add_and_cut)
    found, sizes = list[Archived](), list[int]()
    async with asyncio.timeout(60):
        while len(found) < TOTAL:
            await session.wait_online()
            with suppress(SessionError):
                async for size in read_on(session, found):
                    sizes.append(size)

    assert names(found) == [f"m{number}" for number in range(1, TOTAL + 1)]
    assert sizes[:2] == [250, 100]  # what had come of a thousand
