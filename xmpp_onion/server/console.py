"""Prosody's admin console, spoken over its Unix socket.

``prosodyctl`` would do the same with a process for each question, and with the
password of a new account in its arguments, where every user of the machine sees it.

Source: Prosody's ``util/adminstream.lua`` and ``modules/mod_admin_shell.lua``, the
same in 0.12 and 13.0.
"""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from xmpp_onion.errors import ServerError, XmppOnionError
from xmpp_onion.transport import dial_local

__all__ = ["ask", "follow", "lua_string"]

_NAMESPACE = "xmpp:prosody.im/admin"
_OPEN = (
    f"<stream:stream xmlns='{_NAMESPACE}' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_RESULT = f"{{{_NAMESPACE}}}repl-result"
_PLAIN = re.compile(r"[A-Za-z0-9 ]")
_ANSWER_LIMIT_BYTES = 256 * 1024


async def ask(data: Path, lua: str, *, fix: str = "", timeout: float = 10.0) -> str:
    """Let a running Prosody evaluate a Lua function body, and return its string.

    Args:
        data: Prosody's data folder, where its socket is.
        lua: What to evaluate. ``return value`` answers; ``error(reason)`` refuses.
            Put nothing into it that did not go through `lua_string`.
        fix: What to do where it refuses; else the log is named.
        timeout: Seconds for all of it.

    Raises:
        ServerError: Nobody answers, or the console refused; ``why`` says which.
    """
    # In Lua pcall keeps the answer in one shape: the two versions report errors
    # of their own in different ways.
    question = (
        f">(function() local ok, answer = pcall(function() {lua} end) "
        'return (ok and "+" or "-")..tostring(answer) end)()'
    )
    try:
        async with asyncio.timeout(timeout):
            answer = await _exchange(data, question)
    except (XmppOnionError, OSError, EOFError) as error:
        raise _silent(data) from error
    kind, text = answer[:1], answer[1:]
    if kind != "+":
        raise ServerError(
            "the server refused", why=text, fix=fix or f"Read {data / 'prosody.log'}."
        )
    return text


async def follow(data: Path, question: str, tag: str) -> AsyncIterator[str]:
    """Yield what a module of ours has to say, until Prosody ends.

    Args:
        data: Prosody's data folder, where its socket is.
        question: The name of the element that asks for it.
        tag: The name of each element that answers; its text is yielded.

    Raises:
        ServerError: Nobody answers.
    """
    loop = asyncio.get_running_loop()
    wanted = f"{{{_NAMESPACE}}}{tag}"
    try:
        sock = await dial_local(data / "prosody.sock")
        with sock:
            await loop.sock_sendall(sock, f"{_OPEN}<{question}/>".encode())
            parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["end"])
            while chunk := await loop.sock_recv(sock, 8192):
                parser.feed(chunk)
                for event in parser.read_events():
                    element = event[-1]
                    if isinstance(element, ET.Element) and element.tag == wanted:
                        yield element.text or ""
    except (XmppOnionError, OSError) as error:
        raise _silent(data) from error


def lua_string(text: str) -> str:
    r"""Return ``text`` as a Lua literal that nothing can break out of.

    Every byte but letters, digits and spaces becomes ``\ddd`` (Lua 5.4 manual,
    section 3.1).
    """
    return f'"{"".join(_lua_characters(text))}"'


def _silent(data: Path) -> ServerError:
    folder = shlex.quote(str(data.parents[1]))  # data lies in DIR/prosody
    return ServerError(
        "the server does not answer",
        why="nobody listens at its admin socket",
        fix=f"Is it running? Start it: xmpp-onion server up {folder}",
    )


def _lua_characters(text: str) -> list[str]:
    return [
        char
        if _PLAIN.fullmatch(char)
        else "".join(f"\\{byte:03}" for byte in char.encode())
        for char in text
    ]


async def _exchange(data: Path, question: str) -> str:
    loop = asyncio.get_running_loop()
    sock = await dial_local(data / "prosody.sock")
    with sock:
        request = f"{_OPEN}<repl-input>{escape(question)}</repl-input>"
        await loop.sock_sendall(sock, request.encode())
        parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(["end"])
        received = 0
        while chunk := await loop.sock_recv(sock, 8192):
            received += len(chunk)
            if received > _ANSWER_LIMIT_BYTES:
                break
            parser.feed(chunk)
            for event in parser.read_events():
                element = event[-1]
                if isinstance(element, ET.Element) and element.tag == _RESULT:
                    return (element.text or "").removeprefix("Result: ")
    raise EOFError
