"""An agent lends its account to a talk, and takes it again: nothing lost or doubled."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from xmpp_onion import Account, Client, Message
from xmpp_onion.agent import desk as desks
from xmpp_onion.agent import keeper as keepers
from xmpp_onion.agent.caller import ask, ask_at, socket_path
from xmpp_onion.agent.desk import Desk, serve
from xmpp_onion.agent.hatch import Share
from xmpp_onion.agent.keeper import Enter, Keeper, keep
from xmpp_onion.agent.loan import Loan, borrow
from xmpp_onion.chat import Line
from xmpp_onion.cli.json_lines import faults
from xmpp_onion.errors import AuthenticationError, StoreLockedError
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

pytestmark = pytest.mark.prosody
HOLDER = Path(__file__).with_name("holder.py")


def entering(wire: LoopbackDialer) -> Enter:
    @asynccontextmanager
    async def enter(account: Account) -> AsyncIterator[Client]:
        async with Client(account, tor=wire, login_timeout=None) as client:
            yield client

    return enter


@asynccontextmanager
async def agent(
    account: Account, wire: LoopbackDialer, share: Share | None = None
) -> AsyncIterator[tuple[Keeper, asyncio.Event]]:
    stop = asyncio.Event()
    async with keep(account, entering(wire), stop=stop, share=share) as keeper:
        yield keeper, stop


@asynccontextmanager
async def talk(
    account: Account, wire: LoopbackDialer
) -> AsyncIterator[tuple[Client, Loan]]:
    """Do what ``chat`` does beside an agent."""
    async with (
        borrow(account.folder, "chat") as loan,
        Desk.open(account, loan=loan) as desk,
        Client(account, tor=wire) as client,
        desk.seated(client),
    ):
        yield client, loan


async def answers(folder: Path, request: Line) -> list[Line]:
    async with asyncio.timeout(60):
        lines = [line async for line in ask(folder, request)]
    assert [fault for line in lines for fault in faults(line)] == []
    return lines


async def status(account: Account) -> Line:
    (line,) = await answers(account.folder, {"do": "status"})
    return line


async def until_back(account: Account) -> Line:
    """Return how the agent is once it has the account again."""
    async with asyncio.timeout(60):
        while True:
            line = await status(account)
            if line["state"] == "connected" and not line["lent"]:
                return line
            await asyncio.sleep(0.05)


async def send(account: Account, to: str, text: str) -> Line:
    asked: Line = {"do": "send", "to": [to], "text": text, "wait": "ack"}
    (line,) = await answers(account.folder, asked)
    return line


class Process:
    """A holder in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().strip()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(60):
            return await self.process.wait()


@asynccontextmanager
async def holder(
    role: str, account: Account, wire: LoopbackDialer
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HOLDER), role, account.profile,
        str(account.folder.parent), str(wire.port),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        held = Process(process)
        assert await held.line() == "ready"
        yield held
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def command(account: Account, *words: str) -> tuple[int, list[Line]]:
    """Run ``xmpp-onion`` for the profile of an account."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "xmpp_onion", "--data-dir", str(account.folder.parent),
        "--profile", account.profile, "--socks", "127.0.0.1:9", "--json", *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [fault for line in lines for fault in faults(line)] == []
    return process.returncode or 0, lines


async def texts(client: Client, count: int) -> list[str]:
    async with asyncio.timeout(60):
        messages = client.messages()
        return [(await anext(messages)).text for _ in range(count)]


class Seen(list[str]):
    """What a talk has shown."""

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def reading(client: Client) -> AsyncIterator[Seen]:
    """Read as a talk does, until the block ends."""
    seen = Seen()

    async def read() -> None:
        async for event in client.events():
            if isinstance(event, Message):
                seen.append(event.text)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(read())
        yield seen
        await client.queued()  # what was shown is marked so in the same line
        task.cancel()


async def test_a_talk_borrows_the_account_and_gives_it_back(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(bob_account, tor=wire) as bob,
        agent(account, wire) as (keeper, _),
    ):
        await bob.send(account.jid, "to the agent")
        async with talk(account, wire) as (client, _loan), reading(client) as seen:
            lent = await status(account)
            assert keeper.words == f"lent to chat, process {os.getpid()}"
            assert keeper.is_away
            await bob.send(account.jid, "to the talk")
            await seen.until(2)
            beside = await send(account, bob.jid, "beside the talk")
        await send(account, bob.jid, "right behind it")
        back = await until_back(account)
        assert keeper.words == "connected"
        heard = await texts(bob, 2)
        await bob.send(account.jid, "to the agent again")

    # What the agent took in was shown in the talk, and all of it once.
    assert seen == ["to the agent", "to the talk"]
    async with Client(account, tor=wire) as alice:
        assert await texts(alice, 1) == ["to the agent again"]
    assert heard == ["beside the talk", "right behind it"]
    assert beside["state"] == "acked"
    loan = lent["lent"]
    assert isinstance(loan, dict)
    assert (loan["to"], loan["pid"]) == ("chat", os.getpid())
    assert (lent["agent"], lent["state"]) == (True, "connected")
    assert (back["agent"], back["lent"]) == (True, None)


async def test_fifty_sends_over_two_hand_overs_arrive_once_each_and_in_order(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    sent: list[tuple[str, int, list[Line]]] = []
    enough, logins = asyncio.Event(), []

    async def alerts() -> None:
        while len(sent) < 50 or not enough.is_set():
            text = f"alert {len(sent)}"
            sent.append((text, *await command(account, "send", bob.jid, "-m", text)))

    @asynccontextmanager
    async def enter(now: Account) -> AsyncIterator[Client]:
        logins.append(now)
        if len(logins) > 1:
            await asyncio.sleep(1)  # an alert comes meanwhile
        async with Client(now, tor=wire) as client:
            yield client

    async with (
        Client(bob_account, tor=wire) as bob,
        keep(account, enter, stop=asyncio.Event()),
        asyncio.TaskGroup() as tasks,
    ):
        sending = tasks.create_task(alerts())
        for beginning in (5, 25):
            while len(sent) < beginning:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
            async with holder("talk", account, wire) as borrower:
                before = len(sent)
                while len(sent) < before + 3:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
                assert await borrower.end() == 0
        enough.set()
        await sending
        await send(account, bob.jid, "the end")
        heard = await texts(bob, len(sent) + 1)

    assert len(logins) == 3
    assert [code for _, code, _ in sent] == [0] * len(sent)
    assert [lines[0]["state"] for _, _, lines in sent] == ["acked"] * len(sent)
    assert heard == [*(text for text, _, _ in sent), "the end"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_agent_takes_the_account_again_however_its_borrower_ends(
    enrol: Enrol, wire: LoopbackDialer, number: signal.Signals
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire) as bob, agent(account, wire):
        async with holder("talk", account, wire) as borrower:
            assert (await send(account, bob.jid, "one"))["state"] == "acked"
            await borrower.end(number)
        assert (await send(account, bob.jid, "two"))["state"] == "acked"
        line = await until_back(account)
        assert await texts(bob, 2) == ["one", "two"]

    assert (line["agent"], line["pid"]) == (True, os.getpid())


@pytest.mark.parametrize("way", ["killed", "stopped"])
async def test_a_talk_goes_on_where_its_agent_has_ended(
    enrol: Enrol, wire: LoopbackDialer, way: str
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(bob_account, tor=wire) as bob,
        holder("agent", account, wire) as lender,
        talk(account, wire) as (client, loan),
    ):
        if way == "killed":
            await lender.end(signal.SIGKILL)
        else:
            code, (line,) = await command(account, "agent", "stop")
            assert (code, line.get("state")) == (0, "stopped"), line
            assert line["lent"] == {**loan.as_field()}
            async with asyncio.timeout(60):
                assert await lender.process.wait() == 0
        async with asyncio.timeout(60):
            while not loan.is_over:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert (await send(account, bob.jid, "beside"))["state"] == "acked"
        await client.send(bob.jid, "from it")
        assert await texts(bob, 2) == ["beside", "from it"]
        now = await status(account)
        (refused,) = await answers(account.folder, {"do": "stop"})

    assert (now["agent"], now["lent"], now["pid"]) == (False, None, os.getpid())
    assert refused["code"] == 7
    assert not socket_path(account.folder).exists()


async def test_who_may_not_have_the_account_does_not_get_it(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, bob = await enrol("alice"), (await enrol("bob")).jid
    share = Share(tmp_path / "shared.sock", os.getegid())
    lend: Line = {"do": "lend", "as": "chat", "pid": 1}
    async with agent(account, wire, share) as (keeper, _):
        added: Line = {"do": "add-token", "name": "monitor", "to": [bob]}
        (made,) = await answers(account.folder, added)
        asked = {**lend, "token": made["token"], "to": [bob]}
        (scoped,) = [line async for line in ask_at(share.path, asked)]
        with monkeypatch.context() as patch:
            patch.setattr(desks, "peer_user", lambda _peer: os.geteuid() + 1)
            (other,) = await answers(account.folder, lend)
        async with talk(account, wire):
            (again,) = await answers(account.folder, lend)
        await until_back(account)
        assert keeper.lent is None
    async with Client(account, tor=wire) as alice, serve(alice):
        with pytest.raises(StoreLockedError, match="not lent") as kept:
            async with borrow(account.folder, "chat"):
                pass

    assert (scoped["event"], scoped["code"]) == ("error", 6)
    assert [line["code"] for line in (other, again)] == [7, 7]
    assert "no agent" in kept.value.why


async def test_what_others_asked_for_is_finished_or_the_account_is_not_lent(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers, "_DRAIN_SECONDS", 0.1)
    account = await enrol("alice")
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def perform(_client: Client, request: Line, _tell: object) -> list[Line]:
        begun.set()
        await may_end.wait()
        return [request]

    async with agent(account, wire), asyncio.TaskGroup() as tasks:
        with monkeypatch.context() as patch:
            patch.setattr(desks, "perform", perform)
            film = tasks.create_task(_collect(account, {"do": "x", "event": "x"}))
            await begun.wait()
            with pytest.raises(StoreLockedError, match="does not lend"):
                async with talk(account, wire):
                    pass
            may_end.set()
            assert (await film)[0]["do"] == "x"
        async with talk(account, wire):
            assert (await status(account))["lent"]


async def _collect(account: Account, request: Line) -> list[Line]:
    return [line async for line in ask(account.folder, request)]


async def test_tokens_are_good_while_the_account_is_lent(
    enrol: Enrol, wire: LoopbackDialer, tmp_path: Path
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    share = Share(tmp_path / "shared.sock", os.getegid())
    async with (
        Client(bob_account, tor=wire) as bob,
        agent(account, wire, share) as (_, stop),
    ):
        added: Line = {"do": "add-token", "name": "monitor", "to": [bob.jid]}
        (made,) = await answers(account.folder, added)
        asked: Line = {"do": "send", "to": [bob.jid], "token": made["token"]}
        async with talk(account, wire):
            (line,) = [
                line async for line in ask_at(share.path, {**asked, "text": "lent"})
            ]
        assert line["event"] == "sent"
        (line,) = [line async for line in ask_at(share.path, {**asked, "text": "back"})]
        assert line["event"] == "sent"
        assert await texts(bob, 2) == ["lent", "back"]
        stop.set()
    assert not share.path.exists()


async def test_who_comes_between_two_logins_waits_and_a_queued_text_does_not_need_one(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    ask_: Line = {"do": "send", "to": [bob_account.jid], "wait": "ack"}
    async with (
        Client(bob_account, tor=LoopbackDialer(wire.port)) as bob,
        agent(account, wire) as (keeper, _),
    ):
        async with talk(account, wire):
            wire.refusing = True
        while keeper.lent is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        (waiting,) = await answers(account.folder, {"do": "status"})
        (late,) = await answers(
            account.folder, {**ask_, "text": "too late", "timeout": 0.1}
        )
        (queued,) = await answers(
            account.folder, {**ask_, "text": "one", "queue": True, "timeout": 0.1}
        )
        async with asyncio.TaskGroup() as tasks:
            patient = tasks.create_task(send(account, bob.jid, "two"))
            await asyncio.sleep(0.2)
            assert not patient.done()
            wire.refusing = False
        assert sorted(await texts(bob, 2)) == ["one", "two"]

    assert (waiting["state"], waiting["agent"]) == ("waiting", True)
    assert (late["event"], late["code"]) == ("error", 3)
    assert queued["state"] == "queued"
    assert patient.result()["state"] == "acked"


async def test_an_agent_that_is_lent_waits_for_whoever_took_the_account_in_between(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with agent(account, wire) as (keeper, _):
        async with borrow(account.folder, "chat"):
            other = Client(account, tor=wire)
            await other.__aenter__()
        async with serve(other):
            while keeper.lent is not None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            assert (await status(account))["agent"] is False
        await other.__aexit__(None, None, None)
        # Its socket had another one in its place.
        async with asyncio.timeout(60):
            while keeper.is_away:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert (await status(account))["agent"] is True


async def test_an_agent_that_cannot_log_in_again_lends_the_account_all_the_same(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    async with (
        Client(bob_account, tor=LoopbackDialer(wire.port)) as bob,
        agent(account, wire) as (keeper, _),
        asyncio.TaskGroup() as tasks,
    ):
        async with borrow(account.folder, "chat"):
            wire.refusing = True
        while keeper.lent is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        waiting = tasks.create_task(send(account, bob.jid, "to whom"))
        await asyncio.sleep(0.1)  # it is in, and the login is under way
        async with borrow(account.folder, "chat") as loan:
            wire.refusing = False
            async with (
                Desk.open(account, loan=loan) as desk,
                Client(account, tor=wire) as client,
                desk.seated(client),
            ):
                assert (await waiting)["state"] == "acked"
        await until_back(account)
        assert await texts(bob, 1) == ["to whom"]


async def test_whoever_waits_for_an_agent_that_fails_is_not_left_in_doubt(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    logins: list[Account] = []
    may_fail = asyncio.Event()

    @asynccontextmanager
    async def enter(now: Account) -> AsyncIterator[Client]:
        logins.append(now)
        if len(logins) > 1:
            await may_fail.wait()
            raise AuthenticationError("not any more")
        async with Client(now, tor=wire) as client:
            yield client

    async def be_agent() -> None:
        async with keep(account, enter, stop=asyncio.Event()):
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    with pytest.RaisesGroup(AuthenticationError, flatten_subgroups=True):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(be_agent())
            await begun.wait()
            async with borrow(account.folder, "chat"):
                pass
            while len(logins) < 2:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            asking = asyncio.shield(_collect(account, {"do": "contacts"}))
            await asyncio.sleep(0.1)  # it is in
            may_fail.set()
            await asyncio.Event().wait()
    with pytest.raises(FileNotFoundError):  # nobody holds it, and nothing was done
        await asking


async def test_what_the_talk_changed_about_the_account_holds_for_the_agent(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("alice")
    async with agent(account, wire) as (keeper, _):
        async with talk(account, wire):
            await answers(account.folder, {"do": "automatic-trust", "on": False})
        await until_back(account)
        assert keeper._account.automatic_trust is False


async def test_a_message_that_a_talk_was_shown_is_not_shown_by_the_next_one(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account, bob_account = await enrol("alice"), await enrol("bob")
    async with Client(bob_account, tor=wire) as bob, agent(account, wire):
        for text in ("one", "two", "three"):
            await bob.send(account.jid, text)
        async with talk(account, wire) as (client, _), reading(client) as first:
            await first.until(3)
        await bob.send(account.jid, "four")
        async with talk(account, wire) as (client, _), reading(client) as second:
            await second.until(1)

    assert (first, second) == (["one", "two", "three"], ["four"])
