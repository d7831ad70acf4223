"""What systemd is told, by a socket that plays it."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from xmpp_onion.agent.watchdog import watched
from xmpp_onion.errors import SessionError


class Systemd:
    """Hears what it is told."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(0)

    async def heard(self, number: int) -> list[str]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            return [
                (await loop.sock_recv(self.socket, 4096)).decode()
                for _ in range(number)
            ]


class Connection:
    """One that does what a test says."""

    def __init__(self) -> None:
        self.is_away = False
        self.is_dead = False
        self.pinged = 0

    async def ping(self, timeout: float) -> None:  # noqa: ARG002 - as the real one
        self.pinged += 1
        if self.is_dead:
            raise SessionError("no answer came")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    systemd = Systemd(path)
    with systemd.socket:
        yield systemd


async def test_it_is_told_that_we_are_ready_and_that_we_end(systemd: Systemd) -> None:
    async with watched(Connection()):
        assert await systemd.heard(1) == ["READY=1\nSTATUS=connected"]
    assert await systemd.heard(1) == ["STOPPING=1"]


async def test_the_watchdog_is_fed_after_an_answer(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    connection = Connection()
    async with watched(connection):
        assert (await systemd.heard(3))[1:] == ["WATCHDOG=1\nSTATUS=connected"] * 2
        assert connection.pinged >= 2


async def test_a_connection_that_is_dead_and_does_not_know_it_starves_the_watchdog(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    connection = Connection()
    connection.is_dead = True
    async with watched(connection):
        await systemd.heard(1)
        while connection.pinged < 5:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert await systemd.heard(1) == ["STOPPING=1"]


async def test_a_connection_that_is_being_made_anew_is_well(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    connection = Connection()
    connection.is_away = True
    async with watched(connection):
        heard = await systemd.heard(2)
    assert heard[1] == "WATCHDOG=1\nSTATUS=waiting for the network"
    assert connection.pinged == 0


async def test_somebody_who_is_away_for_a_reason_says_it_and_is_well(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    connection = Connection()
    connection.is_away = True
    async with watched(connection, lambda: "lent to chat, process 5") as tell:
        heard = await systemd.heard(3)
        tell("connected")
        while (word := (await systemd.heard(1))[0]) == heard[2]:
            pass
    assert heard[1:] == ["WATCHDOG=1\nSTATUS=lent to chat, process 5"] * 2
    assert word == "STATUS=connected"


async def test_another_process_is_watched_and_not_we(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    connection = Connection()
    async with watched(connection):
        await asyncio.sleep(0.05)
    assert await systemd.heard(2) == ["READY=1\nSTATUS=connected", "STOPPING=1"]


async def test_without_systemd_nobody_is_told_and_without_its_socket_we_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    async with watched(Connection()) as tell:
        tell("nobody hears it")
    assert caplog.text == ""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    async with watched(Connection()):
        pass
    assert "systemd does not listen" in caplog.text


async def test_a_name_in_the_abstract_space_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"xmpp-onion-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    systemd = Systemd(f"\0{name}")
    with systemd.socket:
        async with watched(Connection()):
            assert await systemd.heard(1) == ["READY=1\nSTATUS=connected"]
