import asyncio
import io
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

import xmpp_onion
from xmpp_onion import Account, Bot, Client, Message, Trust
from xmpp_onion.agent.desk import perform
from xmpp_onion.bot import Texts
from xmpp_onion.logs import write_logs
from xmpp_onion.server import Prosody
from xmpp_onion.session.connection import State
from xmpp_onion.testing.loopback import LoopbackDialer

Enrol: TypeAlias = Callable[..., Awaitable[Account]]

ROOT = Path(xmpp_onion.__file__).parents[1]

pytestmark = pytest.mark.prosody


@asynccontextmanager
async def running(
    bot: Bot, account: Account, wire: LoopbackDialer
) -> AsyncIterator[Client]:
    async with (
        Client(account, tor=wire, trust=bot.trust) as client,
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(bot.serve(client))
        yield client
        serving.cancel()


async def heard_by(client: Client, number: int) -> list[str]:
    """Return the first so many messages."""
    texts: list[str] = []
    async with asyncio.timeout(60):
        async for message in client.messages():
            texts.append(message.text)
            if len(texts) == number:
                break
    return texts


async def first(client: Client) -> str:
    async with asyncio.timeout(30):
        return (await anext(client.messages())).text


async def test_a_returned_string_is_an_encrypted_reply(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bot = Bot("echo", trust=Trust.BTBV)

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text.upper()

    async with (
        running(bot, await enrol("echo"), wire) as client,
        Client(await enrol("alice"), tor=wire) as alice,
    ):
        await alice.send(client.jid, "hello")
        assert await first(alice) == "HELLO"


async def test_a_bot_acts_on_messages_and_on_nothing_else_that_is_said(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bot, heard = Bot("echo", trust=Trust.BTBV), []

    @bot.message
    async def listen(msg: Message) -> str | None:
        heard.append(msg.text)
        return "the end" if msg.text == "end" else None

    account = await enrol("echo")
    laptop = replace(account, folder=account.folder.parent / "laptop", profile="laptop")
    laptop.save()
    async with (
        running(bot, account, wire) as client,
        Client(laptop, tor=wire) as elsewhere,
        Client(await enrol("alice"), tor=wire) as alice,
    ):
        await client.verify(client.jid, elsewhere.fingerprint)
        await elsewhere.verify(client.jid, client.fingerprint)
        await elsewhere.send(alice.jid, "an order of our own, as a copy")
        order = await alice.send(client.jid, "hello")
        await alice.correct(client.jid, order.id, "an order, corrected")
        await alice.react(client.jid, order.id, "an order")
        await alice.retract(client.jid, order.id)
        await alice.send(client.jid, "end")
        messages = alice.messages()
        async with asyncio.timeout(60):
            while (await anext(messages)).text != "the end":
                pass

    assert heard == ["hello", "end"]


async def test_none_is_silence_and_a_raising_handler_harms_nobody(
    enrol: Enrol, wire: LoopbackDialer, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot("echo", trust=Trust.BTBV)

    @bot.message
    async def moody(msg: Message) -> str | None:
        if msg.text == "raise":
            raise ZeroDivisionError
        return None if msg.text == "silence" else msg.text

    async with (
        running(bot, await enrol("echo"), wire) as client,
        Client(await enrol("alice"), tor=wire) as alice,
    ):
        for text in ("raise", "silence", "answer"):
            await alice.send(client.jid, text)
        failure, answer = await heard_by(alice, 2)

    number = failure.rpartition(" ")[2]
    assert failure == f"That did not work; the log knows why: {number}"
    assert answer == "answer"
    assert f"a handler [{number}] failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_pinned_bot_answers_only_who_is_pinned(
    enrol: Enrol, wire: LoopbackDialer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bot, heard = Bot("echo", trust=Trust.PINNED), []

    @bot.message
    async def echo(msg: Message) -> str:
        heard.append(msg.sender.local)
        return msg.text

    async with (
        Client(await enrol("alice"), tor=wire) as alice,
        Client(await enrol("mallory"), tor=wire) as mallory,
    ):
        account = (await enrol("echo")).pin(alice.jid, alice.fingerprint)
        async with running(bot, account, wire) as client:
            await mallory.send(client.jid, "obey")
            await alice.send(client.jid, "hello")
            assert await first(alice) == "hello"

    assert heard == ["alice"]
    assert "ignored a message of m…@" in caplog.text
    assert "its device is not pinned" in caplog.text
    assert "obey" not in caplog.text
    assert str(mallory.jid) not in caplog.text


async def test_a_pin_beside_a_running_bot_counts_at_once(
    enrol: Enrol, wire: LoopbackDialer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bot, heard = Bot("echo", trust=Trust.PINNED), []

    @bot.message
    async def echo(msg: Message) -> str:
        heard.append(msg.text)
        return msg.text

    async with Client(await enrol("alice"), tor=wire) as alice:
        account = await enrol("echo")
        async with running(bot, account, wire) as client:
            await alice.send(client.jid, "too early")
            async with asyncio.timeout(60):
                while "its device is not pinned" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                    await asyncio.sleep(0.01)
            pin = {"jid": alice.jid, "fingerprint": alice.fingerprint}
            (line,) = await perform(client, {"do": "pin", **pin})
            (device,) = await client.devices(alice.jid)
            await alice.send(client.jid, "now")
            assert await first(alice) == "now"

    assert line["event"] == "pinned"
    assert device.trust.word == "verified"
    assert heard == ["now"]
    kept = Account.load("echo", account.folder.parent)
    assert kept.pins == {alice.jid: frozenset({alice.fingerprint})}


async def test_a_failing_handler_puts_no_word_of_a_message_into_the_log(
    enrol: Enrol, wire: LoopbackDialer, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot("echo", trust=Trust.BTBV)

    @bot.message
    async def count(msg: Message) -> str:
        return str(int(msg.text))

    async with (
        running(bot, await enrol("echo"), wire) as client,
        Client(await enrol("alice"), tor=wire) as alice,
    ):
        await alice.send(client.jid, "canary-2718")
        await alice.send(client.jid, "7")
        failure, answer = await heard_by(alice, 2)

    assert "canary" not in failure
    assert answer == "7"
    assert "ValueError" in caplog.text
    assert "return str(int(msg.text))" in caplog.text  # where it failed
    assert "canary" not in caplog.text


async def test_a_hook_is_called_each_time_that_the_connection_is_there(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bot, calls = Bot("echo", trust=Trust.BTBV), asyncio.Queue[None]()

    @bot.connected
    async def come() -> None:
        calls.put_nowait(None)

    async with running(bot, await enrol("echo"), wire), asyncio.timeout(60):
        await calls.get()
        wire.cut()
        await calls.get()
        wire.cut()
        await calls.get()


async def test_a_log_at_its_lowest_level_names_nobody_and_quotes_nothing(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    bot, stream = Bot("echo", trust=Trust.BTBV), io.StringIO()
    own = logging.getLogger("of_the_bot")

    @bot.message
    async def echo(msg: Message) -> str:
        own.info("%s says something", msg.sender)
        if msg.text.endswith("raise"):
            raise ValueError(msg.text)
        return msg.text

    level, capped = logging.root.level, dict[logging.Logger, int]()
    handler = write_logs("text", level=logging.DEBUG, own=["of_the_bot"], stream=stream)
    try:
        async with (
            running(bot, await enrol("echo"), wire) as client,
            Client(await enrol("alice"), tor=wire) as alice,
        ):
            for name in ("slixmpp", "omemo", "twomemo", "oldmemo", "aiosqlite", "stem"):
                library = logging.getLogger(name)
                capped[library] = library.level  # we cap them: that is the other wall
                library.setLevel(logging.DEBUG)
            await alice.send(client.jid, "canary-2718 raise")
            await alice.send(client.jid, "canary-2718")
            await heard_by(alice, 2)
            # Who they are, what they said and what opens their accounts.
            onion = client.jid.domain.removesuffix(".onion")
            secrets = ["canary", "secret of", onion, "echo@", "alice@"]
            secrets += [client.fingerprint, alice.fingerprint]
    finally:
        logging.root.removeHandler(handler)
        for logger, before in [(logging.root, level), *capped.items()]:
            logger.setLevel(before)
        logging.getLogger("xmpp_onion").setLevel(logging.NOTSET)

    text = stream.getvalue()
    assert [secret for secret in secrets if secret in text] == []
    assert f"a…@{onion[:6]}….onion says something" in text
    assert "DEBUG slixmpp" in text
    assert "DEBUG aiosqlite" in text


async def test_an_answer_waits_for_the_network_however_long_it_is_away(
    enrol: Enrol, wire: LoopbackDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, asked = Bot("echo", trust=Trust.BTBV), asyncio.Event()

    @bot.message
    async def echo(msg: Message) -> str:
        wire.refusing = True
        wire.cut()
        while client._session.state is State.ONLINE:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        asked.set()
        return msg.text

    async with (
        running(bot, await enrol("echo"), wire) as client,
        Client(await enrol("alice"), tor=wire) as alice,
    ):
        # What a call waits by default is over long before the network is back.
        usual = Client.queue.__kwdefaults__ or {}
        monkeypatch.setattr(Client.queue, "__kwdefaults__", usual | {"timeout": 0.05})
        await alice.send(client.jid, "hello")
        async with asyncio.timeout(60):
            await asked.wait()
        await asyncio.sleep(0.3)
        wire.refusing = False
        assert await first(alice) == "hello"


async def test_nothing_that_a_bot_says_leaves_in_the_clear(
    enrol: Enrol, wire: LoopbackDialer, prosody: Prosody, tmp_path: Path
) -> None:
    """Answers, what goes wrong, usage, help, forms: neither disk nor log has a word."""
    bot = Bot("echo", trust=Trust.BTBV, texts=Texts(failed="canary-failed {id}"))

    @bot.command
    async def canary_add(canary_a: int) -> str:
        """The canary-help."""
        if canary_a < 0:
            raise ValueError("canary-raised")
        return f"canary-{canary_a}"

    said = ["!canary-add 7", "!canary-add -1", "!canary-add canary-x", "!help"]
    said += ["!canary-unknown", "!form canary-add", "8"]
    answers = []
    async with (
        running(bot, await enrol("echo"), wire) as client,
        Client(await enrol("alice"), tor=wire) as alice,
        asyncio.timeout(60),
    ):
        messages = alice.messages()
        for text in said:
            await alice.send(client.jid, text)
            answers.append((await anext(messages)).text)

    assert all("canary" in answer for answer in answers), answers
    assert [answers[0], answers[-1]] == ["canary-7", "canary-8"]
    files = await asyncio.to_thread(_files_with, tmp_path / "server", b"canary")
    assert files == []
    assert "canary" not in prosody.log_tail()


def _files_with(folder: Path, word: bytes) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert any(b"axolotl" in path.read_bytes() for path in found)  # it kept them
    return [path for path in found if word in path.read_bytes()]


def test_a_bot_cannot_be_made_without_a_trust_policy() -> None:
    with pytest.raises(TypeError):
        Bot("echo")  # type: ignore[call-arg] # that is the point


async def test_a_bot_whose_account_is_held_ends_with_the_code_of_the_store(
    enrol: Enrol, wire: LoopbackDialer
) -> None:
    account = await enrol("echo")
    program = "from xmpp_onion import Bot, Trust\nBot('echo', trust=Trust.BTBV).run()"
    async with Client(account, tor=wire) as client:
        before = client.fingerprint
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            stderr=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "XMPP_ONION_DATA_DIR": str(account.folder.parent),
            },
        )
        async with asyncio.timeout(120):
            _, said = await process.communicate()
    async with Client(account, tor=wire) as client:
        assert client.fingerprint == before

    assert process.returncode == 7
    assert b"holds" in said


def test_a_bot_without_account_ends_with_the_code_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        Bot("nobody", trust=Trust.PINNED).run()

    assert caught.value.code == 7
    assert "account add" in capsys.readouterr().err
