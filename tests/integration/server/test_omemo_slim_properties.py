"""Nobody loses a key that they need: any lists, any changes, any numbers in common.

Once of what the module decides, in Lua without a server, and once of all of it, on a
real Prosody where lists change between and after messages and people come and go.
"""

import asyncio
import itertools
import shutil
import subprocess
from collections.abc import Coroutine, Iterator, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree as ET

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from xmpp_onion.server import Prosody
from xmpp_onion.testing.light_member import LightMember

pytestmark = pytest.mark.prosody

OLD = "eu.siacs.conversations.axolotl"
NEW = "urn:xmpp:omemo:2"
MAM = "urn:xmpp:mam:2"
NUMBERS = st.integers(1, 9)  # so few that people share them
LISTS = st.sets(NUMBERS, max_size=4)

# --- what the module decides -------------------------------------------------------

_DRIVER = """
package.path = "%s/?.lib.lua;" .. package.path
local slim = require "omemo_slim"
for line in io.lines() do
    local case = load("return " .. line)()
    local name, name_of
    if case.listed then
        name, name_of = slim.by_number(case.listed)
    else
        name, name_of = slim.by_account(function (jid)
            return jid:find("@", 1, true) and jid:lower() or nil
        end)
    end
    local plan = slim.plan(case.header, name, name_of)
    local places = {}
    for _, child in ipairs(slim.children_for(case.header, plan, case.names)) do
        table.insert(places, child.place)
    end
    print(table.concat(places, " "))
    io.flush()
end
"""


class Lua:
    """The module's decisions, asked one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def keep(self, header: list[str], names: str, listed: str = "nil") -> list[int]:
        """Return the places of the children that stay."""
        children = ", ".join(
            f"{{{child}, place = {place}}}" for place, child in enumerate(header)
        )
        case = f"{{header = {{{children}}}, names = {names}, listed = {listed}}}"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return [int(place) for place in self._process.stdout.readline().split()]


@pytest.fixture(scope="module")
def lua(request: pytest.FixtureRequest) -> Iterator[Lua]:
    """The interpreter that Debian's Prosody brings with it."""
    program = shutil.which("lua5.4")
    assert program, "Prosody's own interpreter is missing"
    modules = request.config.rootpath / "prosody-config" / "modules"
    with subprocess.Popen(
        [program, "-e", _DRIVER.replace("%s", str(modules))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Lua(process)


def lua_set(values: Set[int] | Set[str]) -> str:
    return "{" + ", ".join(f'["{value}"] = true' for value in values) + "}"


@given(
    # 0 stands for another element than a key, such as <iv/>.
    st.lists(st.integers(0, 9), max_size=12),
    st.lists(LISTS, min_size=1, max_size=4),
    st.sets(NUMBERS),
)
def test_by_number_goes_only_what_others_list_and_the_owner_never_did(
    lua: Lua, numbers: list[int], lists: list[set[int]], former: set[int]
) -> None:
    listed, mine = set().union(*lists), lists[0] | former
    header = [
        f'name = "key", attr = {{rid = "{number}"}}' if number else 'name = "iv"'
        for number in numbers
    ]

    kept = lua.keep(header, lua_set(mine), lua_set(listed))

    needed = {place for place, number in enumerate(numbers) if number in mine}
    unsure = {place for place, number in enumerate(numbers) if number not in listed}
    assert needed | unsure <= set(kept)
    assert kept == sorted(kept)
    spare = set(kept) - needed - unsure
    assert len(spare) <= (0 if any(numbers[place] for place in needed | unsure) else 1)


@pytest.mark.parametrize(
    "rid", ["rid = ''", "rid = '-1'", "rid = '1.0'", "rid = ' 1'", "", "id = '1'"]
)
def test_a_number_that_is_none_may_be_anybodys(lua: Lua, rid: str) -> None:
    header = [f'name = "key", attr = {{{rid}}}', 'name = "key", attr = {rid = "2"}']

    assert lua.keep(header, lua_set({3}), lua_set({1, 2})) == [0]


def test_zeros_before_a_number_do_not_make_it_another(lua: Lua) -> None:
    header = [f'name = "key", attr = {{rid = "{rid}"}}' for rid in ["007", "7", "070"]]

    assert lua.keep(header, lua_set({7}), lua_set({7, 70})) == [0, 1]


@given(st.lists(st.sampled_from(["a@b", "A@b", "c@b", "d@b/r", "?", ""]), max_size=8))
def test_by_account_goes_only_what_names_another(lua: Lua, names: list[str]) -> None:
    header = [
        f'name = "keys", attr = {{jid = "{name}"}}' if name else 'name = "other"'
        for name in names
    ]

    kept = lua.keep(header, lua_set({"a@b"}))

    others = [place for place, name in enumerate(names) if name == "c@b"]
    rest = [place for place, name in enumerate(names) if name != "c@b"]
    if any(names[place] for place in rest):
        assert kept == rest
    else:
        assert kept == sorted(rest + others[:1])


# --- all of it ----------------------------------------------------------------------


@dataclass
class Person:
    """Somebody in the room, and what the server can know of their devices."""

    member: LightMember
    is_in: bool = False
    listed: set[int] = field(default_factory=set)
    ever: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.member.jid.local

    async def publish(self, numbers: set[int]) -> None:
        devices = "".join(f"<device id='{number}'/>" for number in sorted(numbers))
        await self.member.publish(
            f"{OLD}.devicelist", f"<list xmlns='{OLD}'>{devices}</list>"
        )
        self.listed = numbers
        self.ever |= numbers

    async def withdraw(self) -> None:
        """Delete the node with the list, if there is one."""
        owner = "http://jabber.org/protocol/pubsub#owner"
        delete = f"<delete node='{OLD}.devicelist'/>"
        if self.listed:
            await self.member.ask(
                f"<pubsub xmlns='{owner}'>{delete}</pubsub>", kind="set"
            )
        self.listed = set()


class World:
    """A room of four, and the model of what each of them has to get."""

    def __init__(self, room: str, people: Sequence[Person]) -> None:
        self.room = room
        self.people = people
        self.said: list[list[int]] = []

    async def open(self) -> None:
        owner, *others = self.people
        await owner.member.create(self.room, owner.name)
        owner.is_in = True
        await owner.member.make_members(
            self.room, [str(one.member.jid) for one in others]
        )
        for person in others:
            await self.come_or_go(person)

    async def come_or_go(self, person: Person) -> None:
        if person.is_in:
            await person.member.leave(self.room, person.name)
        else:
            await person.member.join(self.room, person.name)
        person.is_in = not person.is_in

    async def say(self, person: Person, numbers: set[int]) -> None:
        if not person.is_in:
            await self.come_or_go(person)
        keys = "".join(f"<key rid='{number}'>a2V5</key>" for number in sorted(numbers))
        groups = "".join(f"<keys jid='{one.member.jid}'/>" for one in self.people)
        person.member.send(
            f"<message type='groupchat' to='{self.room}' id='m'>"
            f"<encrypted xmlns='{OLD}'><header sid='1'>{keys}</header></encrypted>"
            f"<encrypted xmlns='{NEW}'><header sid='1'>{groups}</header></encrypted>"
            "<store xmlns='urn:xmpp:hints'/></message>"
        )
        self.said.append(sorted(numbers))
        for one in self.people:
            if one.is_in:
                self.check(one, self.said[-1], await one.member.next_message())

    def check(self, person: Person, said: list[int], message: ET.Element) -> None:
        got = [int(key.get("rid", "")) for key in message.iter(f"{{{OLD}}}key")]
        groups = [keys.get("jid") for keys in message.iter(f"{{{NEW}}}keys")]

        assert groups == [str(person.member.jid)]
        assert person.ever & set(said) <= set(got), "somebody lost a key"
        assert got == self.expect(person, said)

    def expect(self, person: Person, said: list[int]) -> list[int]:
        if not person.listed:
            return said
        all_listed = set().union(*(one.listed for one in self.people))
        kept = [one for one in said if one not in all_listed or one in person.ever]
        return kept or said[:1]

    async def check_archive(self) -> None:
        for person in self.people:
            person.member.send(
                f"<iq type='set' id='mam' to='{self.room}'><query xmlns='{MAM}'/></iq>"
            )
            results: list[ET.Element] = []
            while (stanza := await person.member.next()).get("id") != "mam":
                results.extend(stanza.iter(f"{{{MAM}}}result"))
            assert len(results) == len(self.said)
            for said, result in zip(self.said, results, strict=True):
                self.check(person, said, result)


T = TypeVar("T")


class Grounds:
    """A server for one world after another."""

    def __init__(self, folder: Path, program: str) -> None:
        self._runner = asyncio.Runner()
        self._server = Prosody(folder, program=program)
        self._numbers = itertools.count()

    def run(self, what: Coroutine[None, None, T]) -> T:
        return self._runner.run(what)

    def __enter__(self) -> "Grounds":
        self.run(self._server.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._server.__aexit__(None, None, None))
        self._runner.close()

    async def play(self, actions: Sequence[tuple[str, int, set[int]]]) -> None:
        number = next(self._numbers)
        async with AsyncExitStack() as stack:
            people = []
            for name in "abcd":
                jid = await self._server.add_account(f"{name}{number}", "pw")
                member = LightMember(jid, "pw", self._server.c2s_port)
                people.append(Person(await stack.enter_async_context(member)))
            world = World(f"room{number}@muc.{self._server.onion}", people)
            await world.open()
            for kind, who, numbers in actions:
                match kind:
                    case "list":
                        await people[who].publish(numbers)
                    case "withdraw":
                        await people[who].withdraw()
                    case "come or go":
                        await world.come_or_go(people[who])
                    case _:
                        await world.say(people[who], numbers)
            await world.check_archive()


@pytest.fixture(scope="module")
def grounds(
    prosody_program: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Grounds]:
    """One running server for all examples."""
    folder = tmp_path_factory.mktemp("grounds") / "server"
    with Grounds(folder, prosody_program) as grounds:
        yield grounds


ACTIONS = st.tuples(
    st.sampled_from(["list", "list", "say", "say", "withdraw", "come or go"]),
    st.integers(0, 3),
    LISTS,
)


# Not made smaller when it fails: that would take an hour of a real server.
@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(ACTIONS, min_size=4, max_size=16))
@example(  # three lists before the first message, and others take the numbers
    [
        ("list", 0, {1}),
        ("list", 0, {2}),
        ("list", 0, {3}),
        ("list", 1, {1, 2, 4}),
        ("say", 2, {1, 2, 3, 4}),
    ]
)
@example(  # a list that is gone for a while, between messages
    [
        ("list", 0, {1, 2}),
        ("list", 1, {3}),
        ("say", 1, {1, 2, 3}),
        ("withdraw", 0, set()),
        ("say", 1, {1, 2, 3}),
        ("list", 1, {2, 3}),
        ("list", 0, {1}),
        ("say", 1, {1, 2, 3}),
    ]
)
def test_whatever_happens_everybody_gets_every_key_they_need(
    grounds: Grounds, actions: list[tuple[str, int, set[int]]]
) -> None:
    grounds.run(grounds.play(actions))
