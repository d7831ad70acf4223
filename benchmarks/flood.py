"""What 50 honest people notice while somebody floods their server, and how long it is.

    python benchmarks/flood.py [--people 50] [--seconds 10] [--rounds 1]
                               [--prosody PROGRAM]... [--limits with]

On loopback, with the circuits as Tor names them: everybody has one. The attacker is a
process of its own with one circuit: it fails to log in on 500 streams, tries 1,000
registrations, or sends 1,000 stanzas a second, and comes again by a new circuit when it
was cut, a second later. *Without* is the same through Prosody's ordinary port, where
nothing is counted. Latency is from one person to another, through the archive. Prints a
table for docs/reference/performance.md.

Quiet seconds and attacked ones take turns, so many rounds of each; the change of the
median has an interval that holds it in 95 of 100 repetitions, drawn from the rounds.
*CPU* is what Prosody works for a message of the people, attacked and quiet. Whoever may
ask for it (root) has server and people go before all else on this machine, so that
neither the attacker's own work nor that of others is taken for the server's.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from xmpp_onion.address import JID
from xmpp_onion.server import Prosody
from xmpp_onion.testing.circuit import Caller, announcement, call
from xmpp_onion.testing.light_member import LightMember

STREAMS, REGISTRATIONS, STANZAS_PER_SECOND = 500, 1000, 1000
PAUSE = 0.5  # seconds between two messages of one person
NEW_CIRCUIT = 1.0  # seconds that an attacker needs for one
_ATTACKER = 0x7000
_LOG_IN = (
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"
    "biwsbj1wMCxyPXg=</auth><response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "eHl6</response>"
)
_REGISTER = (
    "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>u</username>"
    "<password>p</password></query></iq>"
)


class Way:
    """How the attacker comes: by one circuit, and by the next when it was cut.

    Args:
        port: Where the server listens.
        domain: Its name.
        circuit: The first circuit; 0 for the port where nothing is counted.
    """

    def __init__(self, port: int, domain: str, circuit: int) -> None:
        self.port = port
        self.domain = domain
        self._circuit = circuit
        print("begun", flush=True)
        self._began = time.monotonic()
        self._has_told = False

    @property
    def first(self) -> bytes:
        """What stands before each connection."""
        return announcement(self._circuit) if self._circuit else b""

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[Caller]:
        """Open a stream, as a guest."""
        async with call(self.port, self.first) as caller:
            caller.say(
                "<stream:stream xmlns='jabber:client' version='1.0' "
                f"xmlns:stream='http://etherx.jabber.org/streams' to='{self.domain}'>"
            )
            yield caller

    async def is_cut(self, first: bytes) -> None:
        """Tell it, and wait for what a new circuit takes to be built."""
        if not self._has_told:
            self._has_told = True
            print(f"cut {time.monotonic() - self._began:.3f}", flush=True)
        await asyncio.sleep(NEW_CIRCUIT)
        if self._circuit and self.first == first:
            self._circuit += 1


async def attack_with_streams(way: Way) -> None:
    """Hold 500 streams, each with one log-in after the other that fails."""

    async def hold() -> None:
        while True:
            first = way.first
            with contextlib.suppress(OSError, TimeoutError, AssertionError):
                async with way.stream() as caller:
                    await caller.hear("</stream:features>")
                    while True:
                        caller.heard = ""
                        caller.say(_LOG_IN)
                        await caller.hear("</failure>")
            await way.is_cut(first)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(STREAMS):
            tasks.create_task(hold())


async def attack_with_registrations(way: Way) -> None:
    """Ask for an account a thousand times on eight connections, and so on."""

    async def ask() -> None:
        while True:
            first = way.first
            with contextlib.suppress(OSError, TimeoutError, AssertionError):
                async with way.stream() as caller:
                    await caller.hear("</stream:features>")
                    for _ in range(REGISTRATIONS // 8):
                        caller.heard = ""
                        caller.say(_REGISTER)
                        await caller.hear("</iq>")
                    continue
            await way.is_cut(first)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(ask())


async def attack_with_stanzas(way: Way) -> None:
    """Send a thousand messages a second to an account, and come again when cut."""
    to = f"victim@{way.domain}"
    message = f"<message type='chat' to='{to}'><body>{'x' * 200}</body></message>"
    jid = JID(f"mallory@{way.domain}")
    while True:
        first = way.first
        with contextlib.suppress(OSError, AssertionError, TimeoutError):
            async with LightMember(jid, "pw", way.port, first=first) as mallory:
                began, sent = time.monotonic(), 0
                while not mallory.is_closing:
                    due = int((time.monotonic() - began) * STANZAS_PER_SECOND)
                    mallory.send(message * (due - sent))
                    sent = due
                    await asyncio.sleep(0.01)
        await way.is_cut(first)


ATTACKS = {
    f"{STREAMS} streams": attack_with_streams,
    f"{REGISTRATIONS} registrations": attack_with_registrations,
    f"{STANZAS_PER_SECOND} stanzas/s": attack_with_stanzas,
}

# --- the people -----------------------------------------------------------------------


async def chat(
    one: LightMember, other: LightMember, seconds: float, late: float
) -> list[float]:
    """Send from one to the other, and return how long each message took, in seconds."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(late)
    took = []
    ends = loop.time() + seconds
    number = 0
    while loop.time() < ends:
        number += 1
        began = loop.time()
        one.send(
            f"<message type='chat' to='{other.jid}' id='{number}'><body>hello</body>"
            "</message>"
        )
        wanted = str(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                await other.next(
                    lambda stanza, wanted=wanted: (  # type: ignore[misc]  # bound now
                        stanza.tag.endswith("}message") and stanza.get("id") == wanted
                    )
                )
        took.append(loop.time() - began)
        await asyncio.sleep(max(0.0, PAUSE - took[-1]))
    return took


async def everybody_chats(people: Sequence[LightMember], seconds: float) -> list[float]:
    """Let each pair chat, and return all times."""
    pairs = list(zip(people[::2], people[1::2], strict=True))
    async with asyncio.TaskGroup() as tasks:
        chats = [
            tasks.create_task(chat(one, other, seconds, PAUSE * place / len(pairs)))
            for place, (one, other) in enumerate(pairs)
        ]
    return [took for each in chats for took in each.result()]


@contextlib.asynccontextmanager
async def attacked(
    kind: str, port: int, domain: str, circuit: int
) -> AsyncIterator[list[str]]:
    """Run the attacker meanwhile; yields what it says."""
    heard: list[str] = []
    words = ["--attack", kind, str(port), str(domain), str(int(circuit))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *words, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None

    await process.stdout.readline()  # it has begun

    async def listen(stdout: asyncio.StreamReader) -> None:
        heard.extend([line.decode() async for line in stdout])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(process.stdout))
        try:
            yield heard
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Rounds:
    """What was measured in rounds that took turns.

    Args:
        pid: The server's process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.took: list[list[float]] = []
        self.cpu: list[float] = []

    async def add(self, people: Sequence[LightMember], seconds: float) -> None:
        """Let everybody chat once more."""
        began = self._cpu()
        self.took.append(await everybody_chats(people, seconds))
        self.cpu.append((self._cpu() - began) / len(self.took[-1]))

    def median(self, chosen: Sequence[int] | None = None) -> float:
        """Return the median of all rounds, or of those that were chosen, in seconds."""
        chosen = range(len(self.took)) if chosen is None else chosen
        return statistics.median(each for place in chosen for each in self.took[place])

    def p95(self) -> float:
        """Return what one in twenty messages takes longer than, in seconds."""
        took = sorted(each for turn in self.took for each in turn)
        return took[int(len(took) * 0.95)]

    def _cpu(self) -> float:
        """Return how long the server has worked, in seconds (proc(5), schedstat)."""
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]) / 1e9


def interval(attacked: Rounds, quiet: Rounds) -> tuple[float, float, float]:
    """Return how much longer the median is, in percent, and its 95 % interval."""
    count = len(attacked.took)
    draws = sorted(
        attacked.median(chosen) / quiet.median(chosen) - 1
        for chosen in (
            [secrets.randbelow(count) for _ in range(count)] for _ in range(400)
        )
    )
    middle = attacked.median() / quiet.median() - 1
    return middle * 100, draws[10] * 100, draws[-11] * 100


def _row(what: str, attacked: Rounds, quiet: Rounds, cut: str) -> str:
    middle, low, high = interval(attacked, quiet)
    cpu, cpu_before = (statistics.mean(each.cpu) * 1e3 for each in (attacked, quiet))
    return (
        f"| {what} | {attacked.median() * 1e3:.2f} ms "
        f"| {middle:+.0f} % ({low:+.0f} to {high:+.0f}) "
        f"| {attacked.p95() * 1e3:.1f} ms | {quiet.p95() * 1e3:.1f} ms "
        f"| {cpu:.2f} / {cpu_before:.2f} ms | {cut} |"
    )


async def measure(
    program: str, people: int, seconds: float, rounds: int, *, counted: bool
) -> None:
    """Print the rows of one Prosody, with limits or without."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            server = Prosody(Path(folder) / "server", program=program)
            await stack.enter_async_context(server)
            port = server.circuit_port.port if counted else server.c2s_port
            for name in ("mallory", "victim"):
                await server.add_account(name, "pw")
            crowd = []
            for number in range(people):
                jid = await server.add_account(f"p{number}", "pw")
                first = announcement(number + 1) if counted else b""
                one = LightMember(jid, "pw", port, first=first)
                crowd.append(await stack.enter_async_context(one))
                one.send("<presence/>")
            await everybody_chats(crowd, 2)  # warm
            circuit = _ATTACKER
            for kind in ATTACKS:
                quiet, attack, cuts = Rounds(server.pid), Rounds(server.pid), []
                for _ in range(rounds):
                    await quiet.add(crowd, seconds)
                    circuit += 1000
                    number = counted and circuit
                    async with attacked(kind, port, server.onion, number) as heard:
                        await attack.add(crowd, seconds)
                    cuts += [float(line.split()[1]) for line in heard if "cut" in line]
                    await asyncio.sleep(0.5)  # what was closed is cleared away
                how = "with" if counted else "without"
                what = f"{server.version} | {kind} | {how}"
                cut = f"{max(cuts):.3f} s" if cuts else "never"
                print(_row(what, attack, quiet, cut), flush=True)


def go_first() -> bool:
    """Have this process and its children go before all else, where that is allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limits", choices=("with", "without", "both"), default="both")
    parser.add_argument("--prosody", action="append", default=[])
    parser.add_argument("--attack", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack:
        kind, port, domain, circuit = options.attack
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        asyncio.run(ATTACKS[kind](Way(int(port), domain, int(circuit))))
        return
    print(
        "| Prosody | attack | limits | median | than quiet | p95 | quiet | CPU | cut |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    people = options.people // 2 * 2
    if not go_first():
        print("(not allowed to go first: others' work is measured, too)")
    for program in options.prosody or ["prosody"]:
        for counted in (True, False):
            if options.limits == ("without" if counted else "with"):
                continue
            work = measure(
                program, people, options.seconds, options.rounds, counted=counted
            )
            asyncio.run(work)


if __name__ == "__main__":
    main()
