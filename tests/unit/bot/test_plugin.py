"""Tests of bots get their server from pytest."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xmpp_onion.bot import Bot
from xmpp_onion.chat import Message
from xmpp_onion.e2ee import Trust
from xmpp_onion.testing import FakeServer
from xmpp_onion.testing.plugin import xmpp_server  # noqa: F401 - pytest finds it here


async def test_the_server_is_a_fixture(
    xmpp_server: Callable[[Bot], FakeServer],  # noqa: F811 - pytest gives it
) -> None:
    bot = Bot("echo", trust=Trust.PINNED)

    @bot.message
    async def echo(msg: Message) -> str:
        return msg.text

    async with xmpp_server(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi"


ROOT = Path(__file__).parents[3]
SUITE = """
from xmpp_onion import Bot, Message, Trust

bot = Bot("echo", trust=Trust.PINNED)


@bot.message
async def echo(msg: Message) -> str:
    return f"{msg.text} from {msg.device}"


async def test_echo(xmpp_server):
    async with xmpp_server(bot) as server:
        alice = server.user("alice")
        await alice.send("hi")
        assert alice.last == "hi from 1"
"""


def run(folder: Path, *options: str) -> str:
    """Run a suite of its own with the plug-in; return what pytest says."""
    (folder / "test_echo.py").write_text(SUITE)
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "xmpp_onion.testing.plugin"]
    quiet = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *quiet, *options],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_without_an_option_there_are_no_keys(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path)


def test_an_option_gives_each_a_device_and_a_failure_shows_what_was_said(
    tmp_path: Path,
) -> None:
    said = run(tmp_path, "--xmpp-crypto", "real")

    assert "1 failed" in said  # a device has a number by chance
    assert "What was said with echo" in said
    assert "alice: hi" in said
    assert "to alice: hi from" in said


@pytest.mark.parametrize("option", ["--xmpp-crypto", "--xmpp-server"])
def test_what_an_option_does_not_know_is_refused(tmp_path: Path, option: str) -> None:
    assert "invalid choice: 'both'" in run(tmp_path, option, "both")
