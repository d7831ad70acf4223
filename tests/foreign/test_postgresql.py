"""Prosody that keeps everything in PostgreSQL, as docs/explanation/scale.md says."""

import asyncio
import os
import pwd
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.conftest import find_prosody_programs
from xmpp_onion import JID, Account, Client
from xmpp_onion.server import Prosody, folder
from xmpp_onion.session import register
from xmpp_onion.testing.loopback import LoopbackDialer

pytestmark = pytest.mark.prosody

_START_SECONDS = 60


def programs() -> Path:
    """Return the folder of the newest PostgreSQL of Debian."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"))


def user_of(service: str) -> str:
    """Return whom a service runs as: a user of its own, if we may choose."""
    return service if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


async def run(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        user=user_of("postgres"),
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().strip()


@pytest.fixture
async def sockets() -> AsyncIterator[Path]:
    """The folder of the socket of a database, where Prosody's user is known.

    It has no port, and no password: the kernel says who asks (peer).
    """
    place = Path("/tmp") / f"postgresql-{os.getpid()}"  # noqa: S108 - 107 bytes at most, and others come in
    place.mkdir()
    shutil.chown(place, user_of("postgres"))
    await run(
        *(programs() / "initdb", "--auth=peer", "--no-sync", "-D", place / "data")
    )
    process = await asyncio.create_subprocess_exec(
        *(programs() / "postgres", "-D", place / "data", "-k", place, "-h", ""),
        user=user_of("postgres"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not (place / ".s.PGSQL.5432").exists():  # noqa: ASYNC110 - a program tells nobody that it is there
                await asyncio.sleep(0.1)
        prosody = user_of("prosody")
        psql = (programs() / "psql", "-h", place, "-d", "postgres", "-c")
        if prosody != user_of("postgres"):
            await run(*psql, f'CREATE ROLE "{prosody}" LOGIN')
        await run(*psql, f'CREATE DATABASE onion OWNER "{prosody}"')
        yield place
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        shutil.rmtree(place)


@pytest.fixture
def sql_lines(root: Path, sockets: Path) -> str:
    """What the documentation tells an operator to write."""
    text = (root / "docs" / "explanation" / "scale.md").read_text("utf-8")
    found = re.search(r"```lua\n *(storage = \"sql\".*\*?) *```", text, re.DOTALL)
    assert found is not None
    lines = found[1].replace("/run/postgresql", str(sockets))
    return lines.replace('"prosody"', f'"{user_of("prosody")}"')


@pytest.fixture
def templates(
    root: Path, tmp_path: Path, sql_lines: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The configuration of a server, with them in place of what stands there."""
    copy = tmp_path / "prosody-config"
    shutil.copytree(root / "prosody-config", copy)
    config = copy / "prosody.cfg.lua"
    text, count = re.subn(
        r'(?ms)^storage +=.*?"internal"$',
        lambda _: sql_lines,
        config.read_text("utf-8"),
    )
    assert count == 1
    config.write_text(text)
    monkeypatch.setattr(folder, "find_templates", lambda *_: copy)
    return copy


@pytest.mark.usefixtures("templates")
@pytest.mark.parametrize(
    "program", find_prosody_programs(), ids=lambda path: "13" if "/" in path else "0.12"
)
async def test_people_talk_and_everything_is_in_the_database(
    sockets: Path, tmp_path: Path, program: str
) -> None:
    async def enrol(server: Prosody, name: str) -> Account:
        wire = LoopbackDialer(server.c2s_port)
        certificate = await register(
            await server.invite(name), name, f"secret of {name}", tor=wire
        )
        account = Account(
            profile=name,
            folder=tmp_path / name,
            jid=JID(f"{name}@{server.onion}"),
            password=f"secret of {name}",
            certificate=certificate,
        )
        account.save()
        return account

    async with Prosody(tmp_path / "server", program=program) as server:
        wire = LoopbackDialer(server.c2s_port)
        ann, ben = await enrol(server, "ann"), await enrol(server, "ben")
        async with Client(ben, tor=wire) as reader, Client(ann, tor=wire) as writer:
            await writer.send(ben.jid, "at once")
            message = await anext(reader.messages())
            assert message.text == "at once"
            await message.reply("and back")
            assert (await anext(writer.messages())).text == "and back"
        async with Client(ann, tor=wire) as writer:
            await writer.send(ben.jid, "while away")
        await server.restart()
        async with Client(ben, tor=LoopbackDialer(server.c2s_port)) as reader:
            texts = reader.messages()
            while (await anext(texts)).text != "while away":
                pass
        files = [path.name for path in server.data.rglob("*.dat")]

    stores = "SELECT store FROM prosody UNION SELECT store FROM prosodyarchive"
    psql = (programs() / "psql", "-h", sockets, "-d", "onion", "-Atc", stores)
    assert {"accounts", "archive"} <= set((await run(*psql)).split())
    assert files == []
