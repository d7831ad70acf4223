"""An onion service as a folder that Tor reads."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import TorNotRunningError
from xmpp_onion.testing.fake_control import FakeControl
from xmpp_onion.transport.control import Control, open_control
from xmpp_onion.transport.guard import Guard
from xmpp_onion.transport.service_folder import CircuitPort, ServiceFolder

ADDRESS = OnionAddress.from_public_key(bytes(32))
SECRET = bytes(range(64))
OTHERS = ("HiddenServiceDir=/srv/b \\ c", 'HiddenServicePort=80 unix:"/x"')


@asynccontextmanager
async def a_tor(
    pool: Executor, *, uid: int | None = None, pid: int | None = None, sandbox: int = 0
) -> AsyncIterator[tuple[FakeControl, Control]]:
    """Enter a Tor that has a service of somebody else's already."""
    async with FakeControl() as fake:
        fake.answers["GETINFO"] = (
            f"250-process/uid={os.geteuid() if uid is None else uid}",
            f"250-process/pid={os.getpid() if pid is None else pid}",
            "250 OK",
        )
        fake.answers["GETCONF"] = (
            f"250-Sandbox={sandbox}",
            *(f"250-{line}" for line in OTHERS),
            "250 HiddenServiceStatistics=1",
        )
        async with open_control(fake.place, pool=pool) as control:
            yield fake, control


@pytest.fixture
def place(tmp_path: Path) -> CircuitPort:
    return CircuitPort(tmp_path / "a server" / "onion", 20005)


def make(place: CircuitPort) -> ServiceFolder:
    return ServiceFolder(place, SECRET, ADDRESS, [5222, 5280])


def told(fake: FakeControl) -> list[str]:
    return [line for line in fake.asked if line.startswith("SETCONF")]


async def failed(publishing: Coroutine[object, object, bool]) -> Exception | None:
    try:
        await publishing
    except TorNotRunningError as error:
        return error
    return None


async def test_tor_is_told_a_folder_and_keeps_what_it_had(
    place: CircuitPort, pool: Executor
) -> None:
    folder = make(place)
    async with a_tor(pool) as (fake, control):
        assert await folder.publish(control, Guard.public())
        assert folder.is_published

        (line,) = told(fake)
        key = place.folder / "hs_ed25519_secret_key"
        assert key.read_bytes() == b"== ed25519v1-secret: type0 ==\0\0\0" + SECRET
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert line.startswith(
        r'SETCONF HiddenServiceDir="/srv/b \\ c" '
        r'HiddenServicePort="80 unix:\"/x\"" HiddenServiceStatistics="1" '
        f'HiddenServiceDir="{place.folder}" '
        'HiddenServicePort="5222 127.0.0.1:20005" '
        'HiddenServicePort="5280 127.0.0.1:20005" '
        'HiddenServiceExportCircuitID="haproxy" '
    )
    for name in ("MaxStreams", "PoWDefensesEnabled", "EnableIntroDoSDefense"):
        assert f"HiddenService{name}=" in line


async def test_a_service_that_is_withdrawn_leaves_nothing(
    place: CircuitPort, pool: Executor
) -> None:
    folder = make(place)
    async with a_tor(pool) as (fake, control):
        await folder.publish(control, Guard())
        fake.answers["GETCONF"] = (
            f"250-HiddenServiceDir={place.folder}",
            "250 HiddenServicePort=5222 127.0.0.1:20005",
        )
        await folder.withdraw(control)

        assert told(fake)[-1] == "SETCONF HiddenServiceDir"
    assert not folder.is_published
    assert not place.folder.exists()


async def test_who_is_let_in_is_written_for_tor(
    place: CircuitPort, pool: Executor
) -> None:
    async with a_tor(pool) as (_, control):
        await make(place).publish(control, Guard.private(["AAAA", "BBBB"]))

    clients = place.folder / "authorized_clients"
    lines = sorted(file.read_text() for file in clients.iterdir())
    assert lines == ["descriptor:x25519:AAAA\n", "descriptor:x25519:BBBB\n"]


@pytest.mark.parametrize(
    "tor",
    [{"uid": os.geteuid() + 1}, {"pid": 2**30}, {"sandbox": 1}],
    ids=["another user", "elsewhere", "in a sandbox"],
)
async def test_a_tor_that_cannot_read_it_is_never_told(
    place: CircuitPort, pool: Executor, tor: dict[str, int]
) -> None:
    folder = make(place)
    async with a_tor(pool, **tor) as (fake, control):
        assert not await folder.publish(control, Guard())
        assert not await folder.publish(control, Guard())

        assert not told(fake)
    assert not folder.is_published
    assert not place.folder.exists()


async def test_a_tor_that_refuses_is_asked_once(
    place: CircuitPort, pool: Executor
) -> None:
    folder = make(place)
    async with a_tor(pool) as (fake, control):
        fake.answers["SETCONF"] = ("552 Unrecognized option",)
        assert not await folder.publish(control, Guard())
        assert not await folder.publish(control, Guard())

        assert len(told(fake)) == 1
    assert not place.folder.exists()


async def test_a_tor_that_ends_over_it_is_told_no_second_time(
    place: CircuitPort, pool: Executor
) -> None:
    folder = make(place)
    async with a_tor(pool) as (fake, control):
        fake.answers["SETCONF"] = None
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(failed(folder.publish(control, Guard())))
            async with asyncio.timeout(60):
                while not told(fake):  # noqa: ASYNC110 - the fake has no event for it
                    await asyncio.sleep(0)
            fake.hang_up()
        assert isinstance(publishing.result(), TorNotRunningError)
    async with a_tor(pool) as (fake, control):
        assert not await folder.publish(control, Guard())

        assert not told(fake)
