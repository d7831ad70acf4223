"""What strangers of other servers may cost an account, on a real Prosody.

Most of them are put into the server as if another one had sent them: there may be any
number of servers, and each name costs nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.integration.server.test_federation import Place
from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import SocksHub

pytestmark = pytest.mark.prosody

STRANGERS = "urn:xmpp-onion:strangers:0"
ROSTER = "jabber:iq:roster"


def server_name(number: int) -> OnionAddress:
    return OnionAddress.from_public_key(number.to_bytes(32, "big"))


class Post:
    """Puts stanzas into a server, as they come from others."""

    def __init__(self, prosody: Prosody, to: JID) -> None:
        self._prosody = prosody
        self._to = to

    async def send(
        self, make: str, *, count: int = 1, server: int = 1, sender: str = "u"
    ) -> None:
        """Send ``count`` stanzas.

        Args:
            make: Lua for one of them; ``from`` and ``to`` are strings, ``i`` counts.
            count: How many.
            server: Which other server they are from.
            sender: Their account there, with ``%d`` for the count.
        """
        await ask(
            self._prosody.data,
            f"""
            local found, st = pcall(require, "prosody.util.stanza");
            if not found then st = require "util.stanza"; end
            local host = prosody.hosts[{lua_string(self._prosody.onion)}];
            local to = {lua_string(str(self._to))};
            local pattern = {lua_string(f"{sender}@{server_name(server)}")};
            for i = 1, {count} do
                local from = pattern:format(i);
                prosody.core_post_stanza(host, {make});
            end
            return "";
            """,
            timeout=60,
        )

    async def requests(self, *, count: int, server: int = 1) -> None:
        make = 'st.presence({ type = "subscribe"; from = from; to = to })'
        await self.send(make, count=count, server=server, sender="u%d")

    async def messages(
        self, *, count: int = 1, server: int = 1, sender: str = "u", size: int = 2
    ) -> None:
        make = (
            'st.message({ type = "chat"; from = from.."/r"; to = to })'
            f':tag("body"):text(("x"):rep({size}))'
        )
        await self.send(make, count=count, server=server, sender=sender)

    async def waiting_requests(self) -> int:
        answer = await ask(
            self._prosody.data,
            f"""
            local found, manager = pcall(require, "prosody.core.rostermanager");
            if not found then manager = require "core.rostermanager"; end
            local roster = manager.load_roster(
                {lua_string(self._to.local)}, {lua_string(self._prosody.onion)});
            local count = 0;
            for _ in pairs(roster[false].pending) do count = count + 1; end
            return count;
            """,
        )
        return int(answer)


@pytest.fixture
async def alice(prosody: Prosody) -> JID:
    onion = lua_string(str(prosody.onion))
    await ask(  # nobody who is invented here makes stamps
        prosody.data,
        'require "core.configmanager".set("*", "stamp_bits", 0) '
        f'require "core.modulemanager".reload({onion}, "stamps") return ""',
    )
    return await prosody.add_account("alice", "pw")


@pytest.fixture
def post(prosody: Prosody, alice: JID) -> Post:
    return Post(prosody, alice)


@pytest.fixture
async def online(prosody: Prosody, alice: JID) -> AsyncIterator[LightMember]:
    async with LightMember(alice, "pw", prosody.c2s_port) as session:
        session.send("<presence/>")
        await session.next()
        yield session


async def refused(session: LightMember) -> dict[str, int]:
    answer = await session.ask(f"<strangers xmlns='{STRANGERS}'/>")
    (strangers,) = answer
    return {name: int(value) for name, value in strangers.attrib.items()}


async def bodies(session: LightMember) -> int:
    """Return how many messages came, up to the answer to a question of ours."""
    session.send("<iq type='get' id='end'><ping xmlns='urn:xmpp:ping'/></iq>")
    count = 0
    while (stanza := await session.next()).get("id") != "end":
        count += stanza.find("{jabber:client}body") is not None
    return count


async def test_of_ten_thousand_requests_two_hundred_wait_and_the_rest_is_a_number(
    prosody: Prosody, alice: JID, post: Post
) -> None:
    for server in range(1, 11):
        await post.requests(count=1000, server=server)

    assert await post.waiting_requests() == 200
    async with LightMember(alice, "pw", prosody.c2s_port) as session:
        assert await refused(session) == {"requests": 9800, "messages": 0}
        assert await refused(session) == {"requests": 9800, "messages": 0}


async def test_one_server_gets_a_quarter_of_the_room(post: Post) -> None:
    await post.requests(count=1000)
    assert await post.waiting_requests() == 50

    await post.requests(count=1, server=2)
    assert await post.waiting_requests() == 51


async def test_one_server_gets_no_more_of_the_room_with_time(
    prosody: Prosody, post: Post
) -> None:
    # As if a week had passed: so many would be let through in it.
    await ask(
        prosody.data,
        f"""
        local function lib(name)
            local found, library = pcall(require, "prosody."..name);
            return found and library or require(name);
        end
        local host = {lua_string(prosody.onion)};
        lib "core.configmanager".set(host, "stranger_server_requests", 1000);
        lib "core.modulemanager".reload(host, "stranger_limits");
        return "";
        """,
    )
    await post.requests(count=1000)

    assert await post.waiting_requests() == 50


async def test_a_large_request_is_kept_without_what_is_in_it(
    prosody: Prosody, alice: JID, post: Post
) -> None:
    make = (
        'st.presence({ type = "subscribe"; from = from; to = to })'
        ':tag("status"):text(("x"):rep(%d)):up()'
    )
    await post.send(make % 100, sender="small")
    await post.send(make % 200_000, sender="large")

    async with LightMember(alice, "pw", prosody.c2s_port) as session:
        session.send("<presence/>")
        sizes = {
            JID(stanza.get("from", "")).local: len(ET.tostring(stanza))
            for stanza in [
                await session.next(lambda one: one.get("type") == "subscribe")
                for _ in range(2)
            ]
        }
    assert sizes["small"] > 100
    assert sizes["large"] < 1000


async def test_a_stranger_says_sixty_things_at_once(
    post: Post, online: LightMember
) -> None:
    await post.messages(count=1000)

    assert 60 <= await bodies(online) <= 70
    counts = await refused(online)
    assert 930 <= counts["messages"] <= 940


async def test_names_of_one_server_share_a_ceiling_and_all_servers_another(
    post: Post, online: LightMember
) -> None:
    await post.messages(count=1000, sender="u%d")
    of_one = await bodies(online)
    for server in range(2, 12):
        await post.messages(count=1000, server=server, sender="u%d")
    of_others = await bodies(online)

    assert 300 <= of_one <= 330
    assert of_others <= 60  # what its time gave


async def test_who_is_away_finds_two_hundred_and_no_more(
    prosody: Prosody, alice: JID, post: Post
) -> None:
    await post.messages(count=250, sender="u%d")

    async with LightMember(alice, "pw", prosody.c2s_port) as session:
        session.send("<presence/>")
        assert await bodies(session) == 200
        await post.messages(server=2)
        assert await bodies(session) == 1


async def test_a_large_message_counts_as_several(
    post: Post, online: LightMember
) -> None:
    await post.messages(count=60, size=60_000)  # four units each

    assert await bodies(online) == 15


async def test_contacts_and_who_was_written_to_are_not_counted(
    post: Post, online: LightMember
) -> None:
    for number in range(1, 3):
        await post.messages(count=1000, server=number)
    await bodies(online)
    friend, other = (f"f@{server_name(3)}", f"o@{server_name(4)}")
    query = f"<query xmlns='{ROSTER}'><item jid='{friend}'/></query>"
    await online.ask(query, kind="set")
    online.send(f"<message type='chat' to='{other}'><body>hi</body></message>")
    await bodies(online)

    await post.messages(count=500, server=3, sender="f")
    await post.messages(count=500, server=4, sender="o")

    assert await bodies(online) == 1000


@pytest.mark.parametrize(
    "automatic",
    [
        "<iq type='get' id='k' to='{}'><query xmlns='jabber:iq:version'/></iq>",
        "<message to='{}'><received xmlns='urn:xmpp:receipts' id='1'/></message>",
        "<message to='{}'><encrypted xmlns='urn:xmpp:omemo:2'/></message>",
        "<presence to='{}' type='unavailable'/>",
    ],
    ids=["keys", "receipt", "empty", "unavailable"],
)
async def test_what_clients_answer_by_themselves_makes_nobody_known(
    post: Post, online: LightMember, automatic: str
) -> None:
    online.send(automatic.format(f"u@{server_name(1)}"))
    await bodies(online)

    await post.messages(count=200)

    assert await bodies(online) <= 70


async def test_people_of_this_server_are_not_counted(
    prosody: Prosody, online: LightMember
) -> None:
    bob = await prosody.add_account("bob", "pw")
    async with LightMember(bob, "pw", prosody.c2s_port) as session:
        for _ in range(500):
            session.send(
                f"<message type='chat' to='{online.jid}'><body>x</body></message>"
            )
        await session.ask("<ping xmlns='urn:xmpp:ping'/>")

    assert await bodies(online) == 500


async def test_a_stranger_is_told_and_a_contact_gets_through(
    prosody_program: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(SocksHub())
        here = await Place.open(stack, tmp_path / "alice", hub, prosody_program)
        there = await Place.open(stack, tmp_path / "mallory", hub, prosody_program)
        for number in range(300):
            there.say(here.jid, f"m{number}")

        bounce = await there.person.next(lambda one: one.get("type") == "error")

    assert b"resource-constraint" in ET.tostring(bounce)
    assert b"Too many strangers" in ET.tostring(bounce)
