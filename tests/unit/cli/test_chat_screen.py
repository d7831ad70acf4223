"""The line that is typed in `chat`, with keys from a pipe."""

import asyncio
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.cli.chat_screen import Screen
from xmpp_onion.cli.chat_words import COMMANDS

ONION = OnionAddress.from_public_key(bytes(32))


@pytest.fixture
async def keys() -> AsyncIterator[PipeInput]:
    with (
        create_pipe_input() as pipe,
        create_app_session(input=pipe, output=DummyOutput()),
    ):
        yield pipe


def screen() -> Screen:
    return Screen(JID(f"alice@{ONION}"), JID(f"bob@{ONION}"))


async def typed(keys: PipeInput, text: str, one: Screen | None = None) -> list[str]:
    keys.send_text(text)
    async with asyncio.timeout(60):
        return [line async for line in (one or screen()).lines()]


async def test_lines_are_what_was_typed_until_ctrl_d(keys: PipeInput) -> None:
    assert await typed(keys, "one\rtwo three\r\x04") == ["one", "two three"]


async def test_alt_enter_begins_another_line(keys: PipeInput) -> None:
    assert await typed(keys, "one\x1b\rtwo\r\x04") == ["one\ntwo"]


async def test_a_pasted_newline_sends_nothing(keys: PipeInput) -> None:
    pasted = "\x1b[200~one\r\ntwo\n/quit\x1b[201~"
    assert await typed(keys, f"{pasted} typed\r\x04") == ["one\ntwo\n/quit typed"]


async def test_ctrl_c_drops_a_line_and_ends_nothing(
    keys: PipeInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, shown = screen(), []
    monkeypatch.setattr(one.paper, "show", shown.append)
    assert await typed(keys, "a secret\x03on\r\x04", one) == ["on"]
    assert shown == ["(That line was dropped. Ctrl-D, or Ctrl-C once more, ends.)"]


async def test_it_can_be_ended_from_elsewhere(keys: PipeInput) -> None:
    one = screen()
    keys.send_text("one\r")
    found = []
    async with asyncio.timeout(60):
        async for line in one.lines():
            found.append(line)
            asyncio.get_running_loop().call_later(0.05, one.end)
    assert found == ["one"]


def test_a_command_is_completed_and_a_text_is_not() -> None:
    def offered(text: str) -> list[str]:
        found = screen().get_completions(Document(text), CompleteEvent())
        return [each.text for each in found]

    assert offered("/re") == ["reply", "react", "retract"]
    assert offered("/") == list(COMMANDS)
    assert offered("re") == []
    assert offered("/to b") == []  # there is no connection yet


async def test_ctrl_c_twice_ends(keys: PipeInput) -> None:
    assert await typed(keys, "one\x03\x03") == []


async def test_what_is_typed_between_two_ctrl_c_goes_on(keys: PipeInput) -> None:
    assert await typed(keys, "one\x03t\x03two\r\x03\x03") == ["two"]


async def test_ctrl_d_does_not_end_with_half_a_line(keys: PipeInput) -> None:
    assert await typed(keys, "half\x04 a line\r\x04") == ["half a line"]


async def test_what_others_print_stands_above_what_is_typed(keys: PipeInput) -> None:
    one, shown = screen(), []
    one.paper.show = shown.append
    keys.send_text("one\r")
    async for _ in one.lines():
        print("a note\nand half")  # noqa: T201 - as a library may
        sys.stderr.write(" of one\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        break
    assert shown == ["a note", "and half", " of one"]


def test_words_of_a_command_are_completed_and_then_addresses() -> None:
    one = screen()
    one.talk = SimpleNamespace(addresses=lambda: [f"carol@{ONION}", f"dave@{ONION}"])

    def offered(text: str) -> list[str]:
        found = one.get_completions(Document(text), CompleteEvent())
        return [each.text for each in found]

    assert offered("/typing o") == ["on", "off"]
    assert offered("/contacts ") == ["add", "accept", "refuse", "remove", "block"]
    assert offered("/contacts add d") == [f"dave@{ONION}"]
    assert offered("/room invite c") == [f"carol@{ONION}"]
    assert offered("/to c") == [f"carol@{ONION}"]
    assert offered("/edit c") == []
