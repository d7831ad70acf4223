"""Nothing of ours sends anything past Tor, the kernel being witness."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.testing import default_template, leak

HERE = Path(__file__).parent
# Asked for before a test gives us another home: tests share one template.
TEMPLATE = default_template()
ONION = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
SERVERS = ("tor", "lua", "prosody")
# To guess its own address a tor without one asks the kernel which source address a
# datagram to this host would have, and sends none (tor, src/lib/net/address.c).
TOR_GUESS = ("connect", "UDP", "AF_INET", "18.0.0.1", 9, "-1 ENETUNREACH")


@pytest.fixture
def environment(root: Path) -> dict[str, str]:
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(TEMPLATE.parents[1]),
    }


def listening(calls: Iterable[leak.Call]) -> set[int]:
    return {call.port for call in calls if call.syscall == "bind" and call.port}


def assert_servers_stay_home(verdict: leak.Verdict) -> None:
    """Assert that tor and Prosody talk to loopback alone."""
    caught = leak.leaks(
        verdict.of(*SERVERS), ports=None, unix=[Path("/proc/self/cwd/prosody.sock")]
    )
    assert {call[2:] for call in caught} <= {TOR_GUESS}


@pytest.mark.onion
async def test_the_demo_talks_to_its_own_tor_and_server_alone(
    environment: dict[str, str],
) -> None:
    verdict = await leak.judge(
        [sys.executable, "-m", "xmpp_onion", "demo", "--json"], env=environment
    )

    assert verdict.status == 0, verdict.stderr
    assert json.loads(verdict.stdout.splitlines()[-1])["ok"] is True
    assert_servers_stay_home(verdict)
    ours = [call for call in verdict.calls if not call.program.startswith(SERVERS)]
    sockets = [
        Path(call.address)
        for call in ours
        if Path(call.address).parts[-3:] == ("prosody", "data", "prosody.sock")
    ]
    ports = listening(verdict.of(*SERVERS))
    assert leak.leaks(ours, ports=ports, unix=sockets) == []


@pytest.mark.onion
async def test_the_commands_talk_to_the_socks_and_control_port_alone(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # The kernel names a script by its file, whatever interprets it.
    stage = tmp_path / "stage"
    stage.write_text(f"#!{sys.executable}\n" + (HERE / "stage.py").read_text("utf-8"))
    stage.chmod(0o755)

    verdict = await leak.judge(
        [str(stage), sys.executable, str(tmp_path), str(TEMPLATE)],
        env=environment,
        timeout=600,  # ten commands, each with Python's start, on a busy machine
    )

    assert verdict.status == 0, verdict.stderr
    assert_servers_stay_home(verdict)
    places = json.loads(verdict.stdout.splitlines()[0])
    ports = {int(place.rpartition(":")[2]) for place in places.values()}
    ours = verdict.of("python")
    assert {call.port for call in ours if call.family == "AF_INET"} == ports
    assert leak.leaks(ours, ports=ports, unix=[tmp_path / "data"]) == []


@pytest.mark.onion
async def test_servers_that_federate_reach_each_other_through_tor_alone(
    environment: dict[str, str], tmp_path: Path
) -> None:
    program = [sys.executable, str(HERE / "federation.py")]

    verdict = await leak.judge(
        [*program, str(tmp_path), str(TEMPLATE)], env=environment, timeout=300
    )

    assert verdict.status == 0, verdict.stderr
    assert_servers_stay_home(verdict)
    # All that Prosody dialed is one port, and that is Tor's.
    dialed = {
        call.port
        for call in verdict.of("lua", "prosody")
        if call.syscall == "connect" and call.family.startswith("AF_INET")
    }
    assert len(dialed) == 1
    assert dialed <= listening(verdict.of("tor"))


async def test_without_tor_nothing_else_is_tried(
    environment: dict[str, str], tmp_path: Path
) -> None:
    account = Account(
        profile="alice",
        folder=tmp_path / "alice",
        jid=JID(f"alice@{ONION}"),
        password="secret",
    )
    account.save()
    command = [sys.executable, "-m", "xmpp_onion", "--data-dir", str(tmp_path)]
    command += ["--profile", "alice", "--socks", "127.0.0.1:9"]

    verdict = await leak.judge(
        [*command, "send", f"bob@{ONION}", "-m", "hello"], env=environment
    )

    assert verdict.status == 3, verdict.stderr
    assert leak.leaks(verdict.calls, ports={9}, unix=[tmp_path]) == []
    assert {call.port for call in verdict.calls if call.family == "AF_INET"} == {9}
