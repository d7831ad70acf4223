"""Two ejabberds with our configuration that are one server, on loopback."""

import asyncio
import dataclasses
import json
import os
import pwd
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from xmpp_onion import JID, Account, Client
from xmpp_onion.server import Engine, Federation, Options, initialise
from xmpp_onion.server.certificate import read_fingerprint
from xmpp_onion.server.child import as_child
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.ports import choose_ports
from xmpp_onion.testing.loopback import LoopbackDialer
from xmpp_onion.testing.ports import free_ports

PATIENCE = 40.0
LOOPBACK = "{127,0,0,1}"


def choose_ejabberd(options: Options) -> Options:
    return dataclasses.replace(
        options, engine=Engine.EJABBERD, federation=Federation.OFF
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One of the machines of a cluster.

    Attributes:
        name: As Erlang calls it.
        port: Where its people come in.
        process: Erlang.
    """

    name: str
    port: int
    process: asyncio.subprocess.Process


class Cluster:
    """A server of several ejabberds; a name of its own, and a cookie for them all."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._mark = secrets.token_hex(4)
        initialise(folder / "server", choose_ejabberd)
        self._place = Folder(folder / "server", find_unprivileged_user())
        self.onion = self._place.read_onion()
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(free_ports(1)[0]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_LIBS": str(next(Path("/usr/lib").glob("*/ejabberd-*")).parent),
        }
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        self._hand_over(cookie, 0o400)

    @property
    def fingerprint(self) -> str:
        certificate = self._place.prosody / "certs" / f"{self.onion}.crt"
        return read_fingerprint(certificate.read_bytes())

    def _hand_over(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        if self._place.run_as is not None:
            shutil.chown(path, pwd.getpwuid(self._place.run_as.uid).pw_name)

    async def add(self, number: int) -> Node:
        """Start a node on ports of its own, and wait until it runs."""
        place = self._folder / f"node{number}"
        shutil.copytree(self._place.ejabberd, place)
        for path in (place, *place.rglob("*")):
            self._hand_over(path, 0o700 if path.is_dir() else 0o600)
        ports = self._place.read_options().ports
        fresh = choose_ports(Options().ports)
        config = place / "ejabberd.yml"
        text = config.read_text("utf-8").replace(f" {ports.c2s}\n", f" {fresh.c2s}\n")
        config.write_text(text.replace(f" {ports.https}\n", f" {fresh.https}\n"))
        name = f"n{number}{self._mark}@localhost"
        process = await self._stack.enter_async_context(
            self._erlang(
                place / "data", name, "-mnesia", "dir", f'"{place}/data/mnesia"',
                "-s", "ejabberd",
            )
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            # Its text says "started" of a node that is still starting.
            while not (await self.call(name, "ejabberd_admin", "status")).startswith(
                "{ok"
            ):
                assert process.returncode is None
                await asyncio.sleep(0.5)
        return Node(name, fresh.c2s, process)

    async def call(self, node: str, module: str, function: str, *words: str) -> str:
        """Let a node call a function; return what it answers."""
        place = self._folder / "calls"
        place.mkdir(exist_ok=True)
        self._hand_over(place, 0o700)
        binaries = ", ".join(f"<<{json.dumps(word)}>>" for word in words)
        code = (
            f"io:format(\"~p\", [rpc:call('{node}', {module}, {function}, "
            f"[{binaries}])]), halt()."
        )
        name = f"c{secrets.token_hex(4)}@localhost"
        pipe = asyncio.subprocess.PIPE
        async with self._erlang(
            place, name, "-hidden", "-eval", code, output=pipe
        ) as process:
            assert process.stdout is not None
            return (await process.stdout.read()).decode()

    async def close(self) -> None:
        """End Erlang's name server, which its first node started."""
        process = await asyncio.create_subprocess_exec(
            *("epmd", "-kill"), env=self._environment, stdout=asyncio.subprocess.DEVNULL
        )
        await process.wait()

    @asynccontextmanager
    async def _erlang(
        self,
        place: Path,
        name: str,
        *more: str,
        output: int = asyncio.subprocess.DEVNULL,
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        prefix, _ = as_child(self._place.run_as)
        process = await asyncio.create_subprocess_exec(
            *prefix, "erl", "-noinput", "-sname", name,
            *("-kernel", "inet_dist_use_interface", LOOPBACK),
            *more,
            cwd=place,
            env={
                **self._environment,
                "EJABBERD_CONFIG_PATH": str(place.parent / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(place / "ejabberd.log"),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    # Not pytest's folder: another user goes through it.
    with tempfile.TemporaryDirectory(prefix="xmpp-onion-ejabberd-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240 - nothing else runs yet
        made = None
        try:
            async with AsyncExitStack() as stack:
                made = Cluster(Path(folder), stack)
                yield made
        finally:
            if made is not None:
                await made.close()


async def hear(client: Client, text: str) -> None:
    """Read until a text comes; what nobody asked to go on from comes once more."""
    async with asyncio.timeout(PATIENCE):
        async for message in client.messages():
            if message.text == text:
                return


async def test_people_of_two_nodes_talk_and_one_node_is_enough(
    cluster: Cluster, tmp_path: Path
) -> None:
    first, second = await cluster.add(1), await cluster.add(2)
    joined = await cluster.call(
        second.name, "ejabberd_admin", "join_cluster", first.name
    )
    assert joined == "ok"
    people = []
    for name in ("ann", "ben"):
        made = await cluster.call(
            first.name, "ejabberd_admin", "register", name, cluster.onion, "secret"
        )
        assert made.startswith("{ok")
        people.append(
            Account(
                profile=name,
                folder=tmp_path / name,
                jid=JID(f"{name}@{cluster.onion}"),
                password="secret",
                certificate=cluster.fingerprint,
            )
        )
        people[-1].save()
    ann, ben = people

    async with Client(ben, tor=LoopbackDialer(second.port)) as reader:
        async with Client(ann, tor=LoopbackDialer(first.port)) as writer:
            await writer.send(ben.jid, "from the first")
            await hear(reader, "from the first")
            await reader.send(ann.jid, "from the second")
            await hear(writer, "from the second")
        first.process.kill()
        await first.process.wait()
        async with Client(ann, tor=LoopbackDialer(second.port)) as writer:
            await writer.send(ben.jid, "the first is dead")
            await hear(reader, "the first is dead")
