"""The page of an invite, as a browser gets it; and that there is nothing else."""

import asyncio
import base64
import hashlib
import html
import html.entities
import json
import re
import sys
from datetime import timedelta
from email.parser import Parser
from html.parser import HTMLParser
from typing import NamedTuple

import pytest

from xmpp_onion.errors import ServerError
from xmpp_onion.server import (
    Door,
    Options,
    Prosody,
    create_invite,
    list_invites,
    publish_page,
    revoke_invite,
)
from xmpp_onion.server.console import ask
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer

pytestmark = pytest.mark.prosody

PICTURE = "<svg></svg>"
# For the server it is two hours later from now on.
LATER = """
local now = os.time
os.time = function (when) return when and now(when) or now() + 2 * 3600 end
return ""
"""
# Elements that have no end tag (HTML standard, section 13.1.2).
VOID = {"meta", "br"}


class Answer(NamedTuple):
    """What a browser sees."""

    status: str
    headers: dict[str, str]
    body: str


class Judge(HTMLParser):
    """Reads a page as a strict reader would: all that is begun ends, in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} says something twice"
        assert None not in [value for _, value in attrs], f"a bare attribute of {tag}"
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is of SVG, and means nothing in HTML"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} ends and was not begun"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert "<" not in data
        if self.open and self.open[-1] not in {"style", "title"}:
            self.text += data

    def handle_charref(self, name: str) -> None:
        self.text += html.unescape(f"&#{name};")

    def handle_entityref(self, name: str) -> None:
        assert f"{name};" in html.entities.html5
        self.text += html.unescape(f"&{name};")

    def handle_decl(self, decl: str) -> None:
        assert (decl, self.seen) == ("DOCTYPE html", [])

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


async def get(prosody: Prosody, path: str, method: str = "GET") -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", prosody.http_port)  # noqa: TID251 - the far end of a test, on loopback
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {prosody.onion}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        async with asyncio.timeout(60):
            answer = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    status, _, lines = head.partition("\r\n")
    headers = {name.lower(): value for name, value in Parser().parsestr(lines).items()}
    headers.pop("date", None)
    return Answer(status, headers, body)


async def publish(prosody: Prosody, lifetime: timedelta) -> tuple[str, str]:
    """Make an invite with a page; return its token, and the path of the page."""
    folder = prosody.folder.path
    invite = await create_invite(folder, lifetime=lifetime)
    address = await publish_page(folder, invite, PICTURE)
    return invite.token, address.removeprefix(f"http://{prosody.onion}")


async def test_a_page_shows_its_invite_and_loads_nothing(prosody: Prosody) -> None:
    token, path = await publish(prosody, timedelta(hours=1))

    page = await get(prosody, path)

    assert "200" in page.status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert token in page.body
    assert PICTURE in page.body
    assert "<script" not in page.body
    assert not re.search(r"(src|srcset|action|style)\s*=|url\(|@import", page.body)
    assert re.findall(r'href="(\w+):', page.body) == ["xmpp"]


async def test_the_command_prints_where_the_page_is(prosody: Prosody) -> None:
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xmpp_onion", "--json"),
        *("server", "invite", str(prosody.folder.path), "--page"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await command.communicate()
    line = json.loads(out)

    page = await get(prosody, line["page"].removeprefix(f"http://{prosody.onion}"))

    assert html.escape(line["uri"]) in page.body
    judge = Judge()
    judge.feed(page.body)
    judge.close()
    assert judge.open == []
    assert judge.seen[:4] == ["html", "head", "meta", "title"]
    assert judge.seen.count("svg") == judge.seen.count("h1") == 1
    assert line["uri"] in judge.text
    assert "xmpp-onion account add --invite" in judge.text


async def test_the_policy_of_a_page_allows_its_own_style_alone(
    prosody: Prosody,
) -> None:
    _, path = await publish(prosody, timedelta(hours=1))

    page = await get(prosody, path)

    (style,) = re.findall("<style>(.*?)</style>", page.body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.headers["content-security-policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]


async def test_nothing_else_is_there_and_no_answer_tells_pages_apart(
    prosody: Prosody,
) -> None:
    _, path = await publish(prosody, timedelta(hours=1))

    root = await get(prosody, "/")

    assert ("404" in root.status, root.body) == (True, "")
    for other in ("/invite", "/invite/", path[:-1], path + "x", "/invite/" + "a" * 32):
        for method in ("GET", "OPTIONS", "POST"):
            found = await get(prosody, other, method)
            assert found == await get(prosody, "/", method), (method, other)


async def test_a_page_ends_when_its_invite_is_used(prosody: Prosody) -> None:
    folder = prosody.folder.path
    invite = await create_invite(folder)
    address = await publish_page(folder, invite, PICTURE)
    path = address.removeprefix(f"http://{prosody.onion}")

    await register(invite, "bob", "pw", tor=LoopbackDialer(prosody.c2s_port))

    assert "404" in (await get(prosody, path)).status


async def test_a_page_ends_when_its_invite_is_revoked(prosody: Prosody) -> None:
    _, path = await publish(prosody, timedelta(hours=1))
    (invite,) = await list_invites(prosody.folder.path)

    await revoke_invite(prosody.folder.path, invite.name)

    assert "404" in (await get(prosody, path)).status


async def test_a_page_ends_with_its_time(prosody: Prosody) -> None:
    _, path = await publish(prosody, timedelta(hours=1))
    _, longer = await publish(prosody, timedelta(hours=3))

    await ask(prosody.data, LATER)

    assert "404" in (await get(prosody, path)).status
    assert "200" in (await get(prosody, longer)).status


async def test_nobody_guesses_where_a_page_is(prosody: Prosody) -> None:
    paths = [(await publish(prosody, timedelta(hours=1)))[1] for _ in range(3)]

    names = {path.removeprefix("/invite/") for path in paths}
    assert len(names) == len(paths)
    for name in names:  # 192 bits
        assert len(base64.urlsafe_b64decode(name)) == 24


async def test_behind_a_private_door_there_is_no_page(prosody: Prosody) -> None:
    folder = prosody.folder.path
    invite = await create_invite(folder)
    options = Options.load(folder / "server.json")
    prosody.folder.write_options(
        Options(door=Door.PRIVATE, ports=options.ports, socks=options.socks)
    )

    with pytest.raises(ServerError, match="there can be no page"):
        await publish_page(folder, invite, PICTURE)
