"""ejabberd with our configuration, used by our client as Prosody is."""

import dataclasses
import os
import signal
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xmpp_onion import Account, Client
from xmpp_onion.address import JID
from xmpp_onion.errors import AuthenticationError, ServerError
from xmpp_onion.server import (
    Ejabberd,
    Engine,
    Federation,
    Options,
    Prosody,
    examine,
    initialise,
)
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.initialisation import complete
from xmpp_onion.server.lock import kept
from xmpp_onion.testing.loopback import LoopbackDialer


def choose_ejabberd(options: Options) -> Options:
    return dataclasses.replace(
        options, engine=Engine.EJABBERD, federation=Federation.OFF
    )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Ejabberd]:
    initialise(tmp_path / "server", choose_ejabberd)
    async with Ejabberd(tmp_path / "server") as running:
        yield running


@pytest.fixture
def wire(server: Ejabberd) -> LoopbackDialer:
    ports = server.options.ports
    return LoopbackDialer(ports.c2s, ports={443: ports.https})


async def enrol(server: Ejabberd, folder: Path, name: str) -> Account:
    account = Account(
        profile=name,
        folder=folder / name,
        jid=await server.add_account(name, f"secret of {name}"),
        password=f"secret of {name}",
        certificate=server.certificate_fingerprint,
    )
    account.save()
    return account


def listeners(process: int) -> set[str]:
    """Return the addresses that a process and its children listen on, as Linux does.

    Source: proc(5), ``/proc/net/tcp`` and ``tcp6``.
    """
    inodes = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            name = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # it was closed meanwhile, so nothing listens there
        if name.startswith("socket:["):
            inodes.add(name[8:-1])
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}


async def test_two_people_talk_and_find_in_the_archive_what_they_missed(
    server: Ejabberd, wire: LoopbackDialer, tmp_path: Path
) -> None:
    ann = await enrol(server, tmp_path, "ann")
    ben = await enrol(server, tmp_path, "ben")
    async with Client(ben, tor=wire) as reader:
        async with Client(ann, tor=wire) as writer:
            await writer.send(ben.jid, "at once")
            message = await anext(reader.messages())
            await message.reply("and back")
            assert (await anext(writer.messages())).text == "and back"
        assert message.text == "at once"
    async with Client(ann, tor=wire) as writer:
        await writer.send(ben.jid, "while away")
    async with Client(ben, tor=wire) as reader:
        messages = reader.messages()
        # The one that nobody asked to go on from comes once more.
        assert (await anext(messages)).text == "at once"
        assert (await anext(messages)).text == "while away"


async def test_it_listens_on_loopback_alone(server: Ejabberd) -> None:
    ports = server.options.ports

    assert listeners(server.pid) == {
        f"0100007F:{port:04X}" for port in (ports.c2s, ports.https)
    }


async def test_a_wrong_password_is_refused(
    server: Ejabberd, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account = await enrol(server, tmp_path, "ann")
    wrong = dataclasses.replace(account, password="another")

    with pytest.raises(AuthenticationError):
        async with Client(wrong, tor=wire):
            pass


async def test_a_name_is_given_once(server: Ejabberd) -> None:
    assert await server.add_account("ann", "pw") == JID(f"ann@{server.onion}")
    with pytest.raises(ServerError, match="refused"):
        await server.add_account("ann", "other")


async def test_a_server_that_dies_is_noticed(server: Ejabberd) -> None:
    os.kill(server.pid, signal.SIGKILL)

    with pytest.raises(ServerError, match="ejabberd ended"):
        await server.wait()


async def test_accounts_survive_another_start(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    initialise(folder, choose_ejabberd)
    async with Ejabberd(folder) as server:
        ann = await enrol(server, tmp_path, "ann")
    async with Ejabberd(folder) as server:
        wire = LoopbackDialer(server.options.ports.c2s)
        async with Client(ann, tor=wire) as client:
            assert client.jid == ann.jid
            with pytest.raises(ServerError, match="runs already"):
                await Ejabberd(folder).__aenter__()


async def test_prosody_does_not_start_in_its_folder(tmp_path: Path) -> None:
    initialise(tmp_path / "server", choose_ejabberd)

    with pytest.raises(ServerError, match="none of Prosody"):
        await Prosody(tmp_path / "server").__aenter__()


async def test_a_taken_port_is_replaced_and_a_check_sees_it_run(tmp_path: Path) -> None:
    place = Folder(tmp_path / "server", find_unprivileged_user())
    complete(place, choose_ejabberd)
    taken = place.read_options().ports.c2s
    with socket.create_server(("127.0.0.1", taken)):
        async with kept(place), Ejabberd(place.path) as server:
            now = datetime.now(UTC)
            lines = {line["name"]: line async for line in examine(place.path, now=now)}
            ports = server.options.ports

    assert ports.c2s != taken
    assert {name for name, line in lines.items() if not line["ok"]} <= {"tor program"}
    assert "all of them on 127.0.0.1" in str(lines["listeners"]["what"])
    assert "none of them beside Tor" in str(lines["dns"]["what"])
