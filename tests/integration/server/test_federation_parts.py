"""The parts of mod_s2s_onion that need no server, evaluated by a real Prosody."""

from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Prosody
from xmpp_onion.server.console import ask, lua_string

pytestmark = pytest.mark.prosody


async def evaluate(prosody: Prosody, root: Path, part: str, lua: str) -> str:
    """Return what some Lua says that has a part of the module as ``part``."""
    folder = root / "prosody-config" / "modules"
    text = (folder / f"s2s_onion_{part}.lib.lua").read_text("utf-8")
    data = prosody._folder.data
    return await ask(data, f"local part = (function ()\n{text}\nend)()\n{lua}")


async def test_places_are_given_in_the_order_of_the_line(
    prosody: Prosody, root: Path
) -> None:
    lua = """
    local places, said = part.places(2, 2), { }
    local function ticket(name)
        return { go = function () said[#said + 1] = name end }
    end
    local a, b, c, d = ticket "a", ticket "b", ticket "c", ticket "d"
    for _, one in ipairs { a, b, c, d } do
        said[#said + 1] = places.has_room() and "room" or "full"
        places.enter(one)
    end
    said[#said + 1] = places.has_room() and "room" or "full"
    places.leave(c); places.leave(c)
    places.leave(a); places.leave(a)
    said[#said + 1] = table.concat({ places.count() }, "+")
    places.leave(b); places.leave(d)
    said[#said + 1] = table.concat({ places.count() }, "+")
    return table.concat(said, " ")
    """

    said = await evaluate(prosody, root, "budget", lua)

    assert said == "room a room b room room full d 2+0 0+0"


async def test_so_many_a_minute_and_as_many_again_after_one(
    prosody: Prosody, root: Path
) -> None:
    lua = """
    local rate, said = part.rate(60), { }
    local function count(now)
        local let = 0
        for _ = 1, 100 do if rate(now) then let = let + 1 end end
        said[#said + 1] = let
    end
    count(1000); count(1000); count(1001.5); count(1003); count(5000)
    return table.concat(said, " ")
    """

    assert await evaluate(prosody, root, "budget", lua) == "60 0 1 2 60"


async def test_who_was_quiet_longest_is_counted_anew(
    prosody: Prosody, root: Path
) -> None:
    lua = """
    local rates, said = part.rates(require "util.cache", 2, 1), { }
    for _, name in ipairs { "a", "b", "a", "b", "c", "b", "a" } do
        said[#said + 1] = rates(name, 0) and "yes" or "no"
    end
    return table.concat(said, " ")
    """

    assert await evaluate(prosody, root, "budget", lua) == "yes yes no no yes no yes"


async def test_what_was_sent_before_the_question_is_confirmed_by_its_answer(
    prosody: Prosody, root: Path
) -> None:
    lua = """
    local said, stream = { }
    stream = part.new(function (number) said[#said + 1] = "ask"..number end)
    local function left() said[#said + 1] = table.concat(stream.unconfirmed(), ",") end
    stream.sends "a"; stream.sends "b"
    stream.asks()            -- it goes behind both
    stream.sends "c"
    left()
    stream.hears(); left()   -- c is behind the question, and asked for by another
    stream.asks(); stream.hears(); left()
    stream.hears()           -- an answer that nobody asked for
    said[#said + 1] = tostring(stream.count())
    stream.sends "d"; left()
    said[#said + 1] = tostring(stream.waits_since(4))
    return table.concat(said, " ")
    """

    said = await evaluate(prosody, root, "watch", lua)

    assert said == "ask1 a,b,c ask3 c  0 ask4 d true"


async def test_an_onion_is_known_by_its_name(prosody: Prosody, root: Path) -> None:
    good = str(OnionAddress.from_public_key(bytes(range(32))))
    label = good[:56]
    cases = {
        good: label,
        f"muc.{good}": label,
        f"a.b.{good}": label,
        f"{'x' * 200}.{good}": "nil",  # longer than any name
        good.upper(): "nil",
        f"{label[:-1]}a.onion": "nil",
        f"{label[1:]}.onion": "nil",
        f"a{good}": "nil",
        f"{good}.": "nil",
        f"{label[:9]}1{label[10:]}.onion": "nil",  # 1 is no letter of base32
        label: "nil",
        "": "nil",
    }
    listed = ", ".join(lua_string(name) for name in cases)
    lua = f"""
    local said = {{ }}
    for _, name in ipairs {{ {listed} }} do
        said[#said + 1] = tostring(part.onion(name))
    end
    return table.concat(said, " ")
    """

    said = await evaluate(prosody, root, "names", lua)

    assert said.split() == list(cases.values())


async def test_an_answer_is_understood_however_it_is_cut(
    prosody: Prosody, root: Path
) -> None:
    lua = """
    local said = { }
    local answers = {
        "\\5\\2\\1\\0\\5\\0\\0\\1\\0\\0\\0\\0\\0\\0hello",
        "\\5\\2\\1\\0\\5\\0\\0\\3\\2ab\\0\\0hello",
        "\\5\\2\\1\\0\\5\\xF2", "\\5\\2\\1\\1", "\\5\\0", "\\4\\2",
        "\\5\\2\\1\\0\\5\\0\\0\\9\\0",
    }
    for _, answer in ipairs(answers) do
        for size = 1, #answer do
            local machine = part.new("a.onion", 5269, "us", "them")
            local outcome, rest = "none", ""
            for place = 1, #answer, size do
                local what, value = machine.feed(answer:sub(place, place + size - 1))
                while what == "write" do what, value = machine.feed "" end
                if what then
                    outcome, rest = what..":"..value, answer:sub(place + size)
                    break
                end
            end
            said[outcome..rest] = true
        end
    end
    local found = { }
    for outcome in pairs(said) do found[#found + 1] = outcome end
    table.sort(found)
    return table.concat(found, " ")
    """

    said = await evaluate(prosody, root, "socks", lua)

    assert said == "failed:242 failed:garbage failed:method open:hello"


async def test_a_journal_gives_back_what_was_not_taken_out_in_its_order(
    prosody: Prosody, root: Path
) -> None:
    lua = """
    local path, said = prosody.paths.data.."/journal", { }
    local function tell(left)
        local texts = { }
        for _, record in ipairs(left) do
            texts[#texts + 1] = record.text.."/"..record.tries
        end
        said[#said + 1] = table.concat(texts, ",")
    end
    local function put_in(bytes)
        local file = io.open(path, "ab")
        file:write(bytes)
        file:close()
    end
    local book, left = part.open(path, 30)
    tell(left)
    local a, b, c = book.put("a\\n-2", 0), book.put("b", 1), book.put("c", 2)
    said[#said + 1] = tostring(book.put(("x"):rep(30), 0)) -- there is no room
    book.drop(b); book.drop(b); book.drop(nil)
    book.close()
    put_in "+9 0 5\\nhal"                                  -- killed while it wrote
    book, left = part.open(path, 30); tell(left)
    book.drop(left[1].number)
    book.put("d", 0)
    book.close()
    book, left = part.open(path, 30); tell(left)
    for _, record in ipairs(left) do book.drop(record.number) end
    book.put("e", 0); book.close()
    put_in "nonsense"
    book, left = part.open(path, 30); tell(left)
    return (table.concat(said, " "):gsub("\\n", "|"))
    """

    said = await evaluate(prosody, root, "journal", lua)

    assert said == " nil a|-2/0,c/2 c/2,d/0 e/0"
