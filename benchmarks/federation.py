"""Servers that reach each other: ours beside Debian's mod_onions.

    python benchmarks/federation.py --modules …/prosody-modules [--prosody PROGRAM]

A SOCKS port that stands in for Tor answers in each way that a proxy can; told is what
the sender hears of it within some seconds, and how long a first message and later ones
take. ``--modules`` is where ``scripts/fetch-prosody-modules`` put Debian's modules;
that of the series of PROGRAM is taken. Prints tables for
docs/reference/interoperability.md.
"""

import argparse
import asyncio
import logging
import shutil
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from xmpp_onion.address import OnionAddress
from xmpp_onion.server import Prosody, initialise
from xmpp_onion.server.console import ask
from xmpp_onion.testing.light_member import LightMember
from xmpp_onion.testing.socks_hub import Manner, SocksHub
from xmpp_onion.transport import Endpoint

_WAIT = 5.0  # seconds until something that was not heard counts as silence
_LATER = 20  # messages over a link that is there
_QUICK = """
local set = require "core.configmanager".set
set("*", "onion_patience", 0)
set("*", "onion_answer_timeout", 1)
return ""
"""
# In place of ours, so that Debian's can be put beside the rest of the same server.
_NOTHING = "module:set_global()\n"
_WRAPPER = """#!/bin/sh
paths='"{stub}"; "{modules}"; "../modules"'
sed -e "s|^plugin_paths = .*|plugin_paths = {{ $paths }}|" \\
    -e 's|^certificates = .*|certificates = "../certs"|' \\
    -e 's|"s2s_onion";|"s2s_onion"; "onions";|' \\
    -e '1i onions_socks5_port = {port}; onions_only = true' \\
    ../prosody.cfg.lua > onions.cfg.lua
exec {program} --config onions.cfg.lua -F
"""

_GOOD = {
    "IPv4": b"\x05\x00\x00\x01" + bytes(6),
    "IPv6": b"\x05\x00\x00\x04" + bytes(18),
    "a name": b"\x05\x00\x00\x03\x05onion" + bytes(2),
}
GOOD = {
    f"{name}{', byte by byte' if slow else ''}": Manner(answer, is_bytewise=slow)
    for name, answer in _GOOD.items()
    for slow in (False, True)
}
CODES = (*range(1, 9), *range(0xF0, 0xF8), 0x63)
BAD = {
    **{f"code {code:02X}": Manner.refusal(code) for code in CODES},
    "a refusal of two bytes": Manner(b"\x05\x04", leads_on=False),
    "silence": Manner(None),
    "hung up at once": Manner(b"", leads_on=False),
    "hung up in the answer": Manner(_GOOD["IPv6"][:9], leads_on=False),
    "no SOCKS": Manner(b"HTTP/1.1 400 Bad Request\r\n"),
}


def say(person: LightMember, to: str, text: str) -> None:
    """Send a message."""
    person.send(
        f"<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>"
    )


async def hear(person: LightMember, text: str) -> ET.Element | None:
    """Return a message, or what came back for it; None if neither does."""
    try:
        async with asyncio.timeout(_WAIT):
            return await person.next(lambda stanza: stanza.get("id") == text)
    except TimeoutError:
        return None


def described(message: ET.Element | None) -> str:
    """Return what a sender was told."""
    if message is None:
        return "nothing"
    error = message.find("{jabber:client}error")
    if error is None:
        return "a message"
    text = error.findtext("{urn:ietf:params:xml:ns:xmpp-stanzas}text") or ""
    return f"{error[0].tag.partition('}')[2]}: {text.rpartition(': ')[2] or 'no text'}"


class Contestant:
    """A sender's server, started anew for each case, and somebody on it."""

    def __init__(self, folder: Path, hub: SocksHub, program: str) -> None:
        socks = Endpoint("127.0.0.1", hub.port)
        initialise(folder, lambda options: replace(options, socks=socks, stamp_bits=0))
        self.server = Prosody(folder, program=program)
        self.name = folder.name

    async def member(self, stack: AsyncExitStack) -> LightMember:
        """Start the server again and log in."""
        await self.server.restart()
        await ask(self.server.data, _QUICK)
        person = LightMember(self.jid, "pw", self.server.c2s_port)
        await stack.enter_async_context(person)
        person.send("<presence/>")
        return person

    async def __aenter__(self) -> "Contestant":
        await self.server.__aenter__()
        self.jid = await self.server.add_account("alice", "pw")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.__aexit__(None, None, None)


async def good(contestant: Contestant, hub: SocksHub, reader: LightMember) -> list[str]:
    """Return what came of each good answer."""
    found = []
    for number, manner in enumerate(GOOD.values()):
        hub.manners = dict.fromkeys(hub.routes, manner)
        async with AsyncExitStack() as stack:
            person = await contestant.member(stack)
            text = f"{contestant.name}{number}"
            say(person, str(reader.jid), text)
            heard = await hear(reader, text)
            found.append("arrives" if heard is not None else "does not arrive")
    hub.manners = {}
    return found


async def bad(contestant: Contestant, hub: SocksHub) -> list[str]:
    """Return what the sender was told for each bad answer."""
    found = []
    async with AsyncExitStack() as stack:
        person = await contestant.member(stack)
        for number, manner in enumerate(BAD.values()):
            onion = OnionAddress.from_public_key((number + 1000).to_bytes(32))
            hub.manners[str(onion)] = manner
            say(person, f"x@{onion}", f"{number}")
            found.append(described(await hear(person, f"{number}")))
        # And after the proxy was away.
        onion = OnionAddress.from_public_key((2000).to_bytes(32))
        await hub.go_away()
        say(person, f"x@{onion}", "away")
        away = described(await hear(person, "away"))
        await hub.come_back()
        hub.manners[str(onion)] = Manner.refusal(0xF4)
        before = len(hub.asked)
        say(person, f"x@{onion}", "back")
        await hear(person, "back")
        asked = "asks again" if len(hub.asked) > before else "never asks again"
        found.append(f"{away}; then it {asked}")
    return found


async def times(contestant: Contestant, reader: LightMember) -> list[str]:
    """Return how long a first message takes, and a later one."""
    taken = []
    async with AsyncExitStack() as stack:
        person = await contestant.member(stack)
        for number in range(_LATER + 1):
            start = time.perf_counter()
            text = f"{contestant.name} at {number}"
            say(person, str(reader.jid), text)
            heard = await hear(reader, text)
            if heard is None:
                return ["never", "never"]
            taken.append(time.perf_counter() - start)
    return [f"{taken[0]:.2f} s", f"{statistics.median(taken[1:]) * 1e3:.0f} ms"]


def wrap(folder: Path, chosen: argparse.Namespace, hub: SocksHub) -> str:
    """Return a program that is Prosody with mod_onions in place of ours."""
    folder.chmod(0o755)
    stub = folder / "stub"
    stub.mkdir()
    (stub / "mod_s2s_onion.lua").write_text(_NOTHING)
    program = folder / "prosody-with-onions"
    series = "13" if "/" in chosen.prosody else "system"
    program.write_text(
        _WRAPPER.format(
            stub=stub,
            modules=chosen.modules / series,
            port=hub.port,
            program=shutil.which(chosen.prosody),
        )
    )
    program.chmod(0o755)
    return str(program)


async def main(chosen: argparse.Namespace) -> None:
    """Run all of it for both and print the tables."""
    logging.disable(logging.ERROR)
    columns = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        open_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        enter = stack.enter_async_context
        hub = await enter(SocksHub())
        socks = Endpoint("127.0.0.1", hub.port)
        initialise(
            folder / "bob", lambda options: replace(options, socks=socks, stamp_bits=0)
        )
        peer = await enter(Prosody(folder / "bob", program=chosen.prosody))
        hub.routes[str(peer.onion)] = peer.options.ports.s2s
        reader = LightMember(await peer.add_account("bob", "pw"), "pw", peer.c2s_port)
        await enter(reader)
        reader.send("<presence/>")
        programs = {
            "ours": chosen.prosody,
            "mod_onions": wrap(open_folder, chosen, hub),
        }
        for name, program in programs.items():
            contestant = await enter(Contestant(folder / name, hub, program))
            hub.routes[str(contestant.server.onion)] = (
                contestant.server.options.ports.s2s
            )
            columns[name] = [
                *await times(contestant, reader),
                *await good(contestant, hub, reader),
                *await bad(contestant, hub),
            ]
        version = peer.version
    rows = ["first message", "later, median", *GOOD, *BAD, "the proxy is away"]
    print(
        f"| Prosody {version}, the proxy answers | ours | mod_onions |\n|---|---|---|"
    )
    for row, cells in zip(rows, zip(*columns.values(), strict=True), strict=True):
        print(f"| {row} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", type=Path, required=True, metavar="DIR")
    parser.add_argument("--prosody", default="prosody", metavar="PROGRAM")
    asyncio.run(main(parser.parse_args()))
