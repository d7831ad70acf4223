"""Files: how fast they are encrypted, what three circuits gain, a gigabyte with kills.

    python benchmarks/files.py encryption
    python benchmarks/files.py circuits [--megabytes 48] [--rate 500000]
    python benchmarks/files.py copy [--megabytes 100] [--rate 4000000]
    python benchmarks/files.py kills [--megabytes 1024] [--kills 10]

``circuits`` caps each connection on the way to a real Prosody. ``copy`` does the same
beside curl, which copies as many bytes without encryption, on the same way to a server
that keeps nothing. ``kills`` sends and
fetches through a private Tor network on loopback, and kills the tor of whoever is at
it at random places. Prints lines for docs/reference/performance.md.
"""

import argparse
import asyncio
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from xmpp_onion import JID, Account, Client, Tor, Trust  # noqa: E402 - found by the path above
from xmpp_onion.address import OnionAddress  # noqa: E402
from xmpp_onion.bench.figures import Figure  # noqa: E402
from xmpp_onion.chat import Progress  # noqa: E402
from xmpp_onion.files.cipher import ChunkCipher, encrypt  # noqa: E402
from xmpp_onion.files.index import CHUNK_BYTES  # noqa: E402
from xmpp_onion.server import Prosody, Server  # noqa: E402
from xmpp_onion.session import register  # noqa: E402
from xmpp_onion.testing import ChaosProxy, TorNetwork, chaos, default_template  # noqa: E402
from xmpp_onion.testing.hostile import make_onion_name  # noqa: E402
from xmpp_onion.testing.loopback import LoopbackDialer  # noqa: E402
from xmpp_onion.transport import Isolation  # noqa: E402

MEGABYTE = 1_000_000
MEBIBYTE = 1024 * 1024
_FILES_PORT = 5280
# Pieces of 64 KiB that the way holds: Tor's window for a stream is 500 cells, 249 kB
# (tor-spec, section 7.4). What swallows more makes all of it look sent.
_PIECES_HELD = 4


# --- encryption ---


def measure_encryption() -> None:
    """Compare both forms with what OpenSSL does on this machine, in this run."""
    openssl = _openssl_rate()
    data, key, iv = bytes(CHUNK_BYTES), secrets.token_bytes(32), secrets.token_bytes(12)
    pieces = [data[:MEBIBYTE]] * 256

    began = time.process_time()
    size = sum(len(piece) for piece in encrypt(iter(pieces), key, iv))
    single = size / (time.process_time() - began)

    cipher = ChunkCipher(key, 64, bytes(32))
    parts = [data[: 256 * 1024]] * 8
    began = time.process_time()
    size = sum(sum(map(len, cipher.seal(n, parts))) for n in range(64))
    chunks = size / (time.process_time() - began)

    began = time.process_time()
    size = sum(hashlib.sha256(data).digest_size and len(data) for _ in range(32))
    hashing = size / (time.process_time() - began)
    for what, rate in (
        ("`openssl speed`, AES-256-GCM, 16 kB", openssl),
        ("one object, in pieces", single),
        ("chunks of 2 MiB", chunks),
        ("SHA-256, which is taken twice of a large file", hashing),
    ):
        print(f"| {what} | {rate / MEGABYTE:.0f} MB/s |")


def _openssl_rate() -> float:
    command = [
        "openssl",
        "speed",
        "-evp",
        "aes-256-gcm",
        "-seconds",
        "2",
        "-bytes",
        "16384",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"AES-256-GCM\s+([\d.]+)k", told, re.IGNORECASE)
    assert found is not None, told
    return float(found[1]) * 1000


# --- circuits ---


class SplitDialer:
    """Messages go straight, files through a way whose connections are capped."""

    def __init__(self, near: LoopbackDialer, far: Tor) -> None:
        self._near, self._far = near, far

    async def dial(
        self,
        address: OnionAddress,
        port: int,
        *,
        isolation: Isolation,
        timeout: float = 60.0,
        first: bytes = b"",
    ) -> io.IOBase:
        """Connect, by the port."""
        way = self._far if port == _FILES_PORT else self._near
        return await way.dial(  # type: ignore[return-value]  # a socket
            address, port, isolation=isolation, timeout=timeout, first=first
        )


async def measure_circuits(megabytes: int, rate: float, figures: Path | None) -> None:
    """Send and fetch a file over one circuit and over more, each capped."""
    chaos._CHUNKS_IN_FLIGHT = _PIECES_HELD  # noqa: SLF001 - as Tor has it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.write_bytes(secrets.token_bytes(megabytes * MEGABYTE))
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            prosody = await enter(Prosody(folder / "server"))
            routes = {str(prosody.onion): prosody.http_port}
            proxy = await enter(ChaosProxy(routes=routes, rate=rate, rtt=0.5))
            far = await enter(Tor.attach(proxy.socks))
            near = LoopbackDialer(prosody.c2s_port)
            way = SplitDialer(near, far)
            clients = [
                await enter(Client(await _enrol(prosody, near, folder, who), tor=way))  # type: ignore[arg-type]  # a dialer
                for who in ("alice", "bob")
            ]
            seconds: dict[int, tuple[float, float]] = {}
            for circuits in (1, 2, 3) if figures else (1, 3):
                for client in clients:
                    client._sharing.circuits = circuits  # noqa: SLF001 - what is measured
                seconds[circuits] = await _there_and_back(*clients, source, folder)
    if figures is not None:
        _keep(figures, megabytes * MEGABYTE, seconds)
    for way_name, place in (("sent", 0), ("fetched", 1)):
        one, three = seconds[1][place], seconds[3][place]
        print(
            f"| {way_name} | {megabytes / one:.2f} MB/s | {megabytes / three:.2f} MB/s "
            f"| {one / three:.2f} |"
        )


def _keep(path: Path, size_bytes: int, seconds: dict[int, tuple[float, float]]) -> None:
    """Write the figures that benchmarks/plots.py draws."""
    with path.open("a", encoding="utf-8") as file:
        for circuits, took in seconds.items():
            for subject, each in zip(("file-sent", "file-fetched"), took, strict=True):
                figure = Figure(
                    subject, f"{circuits} circuits", 0.5, each, size=size_bytes
                )
                file.write(json.dumps(figure.as_line()) + "\n")


async def _there_and_back(
    alice: Client, bob: Client, source: Path, folder: Path
) -> tuple[float, float]:
    """Return seconds for sending a file, and for fetching it."""
    began = time.monotonic()
    await alice.send_file(bob.jid, source)
    sent = time.monotonic() - began
    message = await anext(bob.messages())
    assert message.attachment is not None
    began = time.monotonic()
    saved = await message.attachment.save(folder)
    fetched = time.monotonic() - began
    assert _hash(saved) == _hash(source)
    saved.unlink()
    return sent, fetched


async def _enrol(
    prosody: Prosody, way: LoopbackDialer, folder: Path, who: str
) -> Account:
    password = secrets.token_hex(16)
    certificate = await register(await prosody.invite(who), who, password, tor=way)
    account = Account(
        profile=who,
        folder=folder / "data" / who,
        jid=JID(f"{who}@{prosody.onion}"),
        password=password,
        trust=Trust.BTBV,
        certificate=certificate,
    )
    account.save()
    return account


# --- beside a raw copy ---


class BareServer:
    """HTTP that gives as many zeros as it was told, and takes what is put."""

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> "BareServer":
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if asked.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._size)
            for _ in range(self._size // MEGABYTE):
                writer.write(bytes(MEGABYTE))
                await writer.drain()
        else:
            left = self._size
            while left:
                left -= len(await reader.read(min(left, MEBIBYTE)))
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


async def measure_copy(megabytes: int, rate: float) -> None:
    """Send and fetch a file, and copy as many bytes by curl, on the same way."""
    chaos._CHUNKS_IN_FLIGHT = _PIECES_HELD  # noqa: SLF001 - as Tor has it
    other = make_onion_name()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        source = folder / "source"
        source.write_bytes(secrets.token_bytes(megabytes * MEGABYTE))
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            prosody = await enter(Prosody(folder / "server"))
            bare = await enter(BareServer(megabytes * MEGABYTE))
            routes = {str(prosody.onion): prosody.http_port, str(other): bare.port}
            proxy = await enter(ChaosProxy(routes=routes, rate=rate, rtt=0.5))
            far = await enter(Tor.attach(proxy.socks))
            near = LoopbackDialer(prosody.c2s_port)
            clients = [
                await enter(
                    Client(
                        await _enrol(prosody, near, folder, who),
                        tor=SplitDialer(near, far),  # type: ignore[arg-type]  # a dialer
                    )
                )
                for who in ("alice", "bob")
            ]
            curl = [
                "curl", "--silent", "--show-error", "--fail", "--output", "/dev/null",
                "--socks5-hostname", proxy.socks,
            ]  # fmt: skip
            put = await _seconds_of(
                *curl,
                "--header",
                "Expect:",
                "--upload-file",
                str(source),
                f"http://{other}/x",
            )
            got = await _seconds_of(*curl, f"http://{other}/x")
            for circuits in (1, 3):
                for client in clients:
                    client._sharing.circuits = circuits  # noqa: SLF001 - what is measured
                before = _most_memory()
                sent, fetched = await _there_and_back(*clients, source, folder)
                grown = (_most_memory() - before) / MEBIBYTE
                print(
                    f"| {circuits} | {put:.1f} s | {sent:.1f} s | {sent / put:.2f} "
                    f"| {got:.1f} s | {fetched:.1f} s | {fetched / got:.2f} "
                    f"| {grown:.0f} MiB |",
                    flush=True,
                )


async def _seconds_of(*command: str) -> float:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command
    return time.monotonic() - began


def _most_memory() -> int:
    """Return how many bytes were resident at most since this was asked last."""
    status = Path("/proc/self/status").read_text()
    most = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert most is not None
    Path("/proc/self/clear_refs").write_text("5")
    return int(most[1]) * 1024


# --- kills ---


async def measure_kills(megabytes: int, kills: int) -> None:
    """Send and fetch a large file while the tor of whoever does it is killed."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "downloads").mkdir()
        source = folder / "source.bin"
        with source.open("wb") as file:
            for _ in range(megabytes):
                file.write(secrets.token_bytes(MEBIBYTE))
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            network = await enter(TorNetwork(relays=8, template=default_template()))
            publisher = await enter(
                Tor.attach(network.service_socks, network.service_control)
            )
            server = await enter(Server(folder / "server", tor=publisher))
            near = LoopbackDialer(server.c2s_port)
            bob = await _enrol(server, near, folder, "bob")  # type: ignore[arg-type]  # it invites as well
            await _enrol(server, near, folder, "alice")  # type: ignore[arg-type]  # it invites as well
            for who in ("alice", "bob"):
                await network.seed(folder / "data" / who / "tor")
                async with Client(Account.load(who, folder / "data"), tor=near):
                    pass  # has keys from now on
            for who, what in (("alice", str(source)), ("bob", "")):
                child = Child(folder, who, [bob.jid, what], network.torrc_lines)
                print(await child.run(source.stat().st_size, kills), flush=True)
            (saved,) = (folder / "downloads").iterdir()
            print(f"SHA-256 equal: {_hash(saved) == _hash(source)}")


class Child:
    """A process that sends or fetches, with a tor of its own that is killed."""

    def __init__(
        self, folder: Path, who: str, arguments: list[str], torrc: tuple[str, ...]
    ) -> None:
        self._who = who
        self._command = [
            sys.executable, __file__, "child", "--folder", str(folder), "--who", who,
            *arguments, "--torrc", json.dumps(torrc),
        ]  # fmt: skip

    async def run(self, size: int, kills: int) -> str:
        """Run it, kill its tor at random places, and return a line of the table."""
        places = sorted(secrets.randbelow(size * 95 // 100) for _ in range(kills))
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        last: dict[str, int] = {}
        marks: list[int] = []  # bytes repeated before each kill
        async for line in process.stdout:
            last = json.loads(line)
            while places and last["done"] >= places[0]:
                del places[0]
                if _kill_tor(process.pid):
                    marks.append(last["repeated"])
        assert await process.wait() == 0
        seconds = time.monotonic() - began
        costs = [b - a for a, b in itertools.pairwise([*marks, last["repeated"]])]
        return (
            f"| {self._who} | {size / MEBIBYTE:.0f} MiB | {len(marks)} kills "
            f"| {last['repeated'] / CHUNK_BYTES:.2f} chunks of 2 MiB repeated, "
            f"{max(costs, default=0) / CHUNK_BYTES:.2f} at most for one "
            f"| {last['memory'] / 1024:.0f} MiB resident at most | {seconds:.0f} s |"
        )


def _kill_tor(pid: int) -> bool:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() == "tor":
            os.kill(int(child), signal.SIGKILL)
            return True
    return False


async def be_child(
    folder: Path, who: str, to: str, path: str, *, torrc: list[str]
) -> None:
    """Send a file, or fetch the next that comes, and tell how far it is."""
    account = Account.load(who, folder / "data")
    tor = Tor.launch(folder / "data" / who / "tor", extra=torrc)
    counted = Counted()
    async with tor, Client(account, tor=tor) as client:
        if path:
            await client.send_file(to, Path(path), counted.told)
        else:
            message = await anext(client.messages())
            assert message.attachment is not None
            await message.attachment.save(folder / "downloads", counted.told)
    counted.tell()


class Counted:
    """Adds up what had to be carried again."""

    def __init__(self) -> None:
        self._done = self._shown = self._repeated = 0

    @property
    def told(self) -> Progress:
        """What a transfer tells."""
        return self._told

    def _told(self, done: int, _total: int) -> None:
        self._repeated += max(0, self._done - done)
        self._done = done
        if abs(done - self._shown) >= MEBIBYTE:
            self.tell()

    def tell(self) -> None:
        """Print it, and how much memory was in use at most."""
        self._shown = self._done
        status = Path("/proc/self/status").read_text()
        memory = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert memory is not None
        line = {
            "done": self._done,
            "repeated": self._repeated,
            "memory": int(memory[1]),
        }
        print(json.dumps(line), flush=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("encryption")
    circuits = commands.add_parser("circuits")
    circuits.add_argument("--megabytes", type=int, default=48)
    circuits.add_argument("--rate", type=float, default=500_000)
    circuits.add_argument("--figures", type=Path, metavar="FILE", help="add them here")
    copy = commands.add_parser("copy")
    copy.add_argument("--megabytes", type=int, default=100)
    copy.add_argument("--rate", type=float, default=4_000_000)
    kills = commands.add_parser("kills")
    kills.add_argument("--megabytes", type=int, default=1024)
    kills.add_argument("--kills", type=int, default=10)
    child = commands.add_parser("child")
    child.add_argument("--folder", type=Path)
    child.add_argument("--who")
    child.add_argument("--torrc", type=json.loads)
    child.add_argument("to")
    child.add_argument("path")
    options = parser.parse_args()
    match options.what:
        case "encryption":
            measure_encryption()
        case "circuits":
            asyncio.run(
                measure_circuits(options.megabytes, options.rate, options.figures)
            )
        case "copy":
            asyncio.run(measure_copy(options.megabytes, options.rate))
        case "kills":
            asyncio.run(measure_kills(options.megabytes, options.kills))
        case _:
            asyncio.run(
                be_child(
                    options.folder,
                    options.who,
                    options.to,
                    options.path,
                    torrc=options.torrc,
                )
            )


if __name__ == "__main__":
    main()
