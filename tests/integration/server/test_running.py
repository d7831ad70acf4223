"""What a check sees of a Prosody that runs: its listeners, and its ways out."""

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion.chat import Line
from xmpp_onion.server import Federation, Prosody, examine
from xmpp_onion.server.console import ask
from xmpp_onion.server.running import Running, check_dns, check_listeners
from xmpp_onion.transport import Endpoint

pytestmark = pytest.mark.prosody

# A listener that no configuration of ours makes.
OPEN = """
local server = require "net.server"
local listener, reason = server.addserver("0.0.0.0", 0, { })
if not listener then error(reason) end
return ""
"""


async def check(prosody: Prosody) -> dict[str, Line]:
    folder, now = prosody.folder.path, datetime.now(UTC)
    return {str(line["name"]): line async for line in examine(folder, now=now)}


async def test_a_server_that_runs_is_seen(prosody: Prosody) -> None:
    lines = await check(prosody)

    assert {name for name, line in lines.items() if not line["ok"]} <= {"prosody"}
    assert prosody.version in str(lines["prosody"]["what"])
    assert "it runs" in str(lines["state"]["what"])
    count = len(prosody.options.listening_ports)
    assert lines["listeners"]["what"] == f"{count}, all of them on 127.0.0.1"
    assert "none of them beside Tor" in str(lines["dns"]["what"])


async def test_a_listener_beyond_loopback_is_a_fault(prosody: Prosody) -> None:
    await ask(prosody.data, OPEN)

    line = (await check(prosody))["listeners"]

    assert line["ok"] is False
    assert "0.0.0.0 port" in str(line["why"])


async def test_a_listener_that_is_missing_is_a_fault(prosody: Prosody) -> None:
    running = await Running.find(prosody.data)
    options = replace(
        prosody.options, ports=prosody.options.ports._replace(http=1)
    )  # fmt: skip

    finding = check_listeners(prosody.folder, options, running)

    assert "port 1 is not open" in str(finding)


async def test_who_asks_a_resolver_is_a_fault_and_who_asks_tor_is_none(
    prosody: Prosody,
) -> None:
    running = await Running.find(prosody.data)
    assert running is not None
    await ask(
        prosody.data,
        """
        local udp = require "socket".udp()
        udp:setpeername("127.0.0.1", 53)
        prosody.asked = udp
        return ""
        """,
    )

    line = (await check(prosody))["dns"]
    options = replace(prosody.options, socks=Endpoint("127.0.0.1", 53))
    at_tor = check_dns(options, running)
    unfenced = check_dns(options, replace(running, is_fenced=False))

    assert "127.0.0.1 port 53" in str(line["why"])
    assert "none of them beside Tor" in str(at_tor)
    assert "could ask the DNS" in str(unfenced)


async def test_what_was_chosen_and_does_not_count_yet_is_told(
    prosody: Prosody,
) -> None:
    prosody.folder.write_options(
        replace(prosody.options, federation=Federation.OFF, stamp_bits=3)
    )

    line = (await check(prosody))["federation"]

    assert line["ok"] is False
    assert "does not count yet" in str(line["what"])
    assert "federation open and stamps of 18 bits" in str(line["why"])


async def test_who_only_listens_elsewhere_is_not_the_server(prosody: Prosody) -> None:
    with socket.create_server(("0.0.0.0", 0)):  # noqa: S104 - what must not count
        line = (await check(prosody))["listeners"]

    assert line["ok"] is True


# Loads a library and waits.
LOADER = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
print("loaded", flush=True)
sys.stdin.read()
"""


def test_a_library_that_was_replaced_since_is_seen(tmp_path: Path) -> None:
    original = next(
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/libssl" in line
    )
    library = tmp_path / "libssl.so.3"
    shutil.copy(original, library)
    with subprocess.Popen(
        [sys.executable, "-c", LOADER, str(library)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        running = Running(process.pid, "", is_fenced=True, federation="", stamp_bits="")
        before = running.uses_replaced("libssl")
        library.unlink()
        after = running.uses_replaced("libssl")
        process.communicate()

    assert (before, after) == (False, True)
