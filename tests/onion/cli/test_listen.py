"""Listening over a real onion: what others write, and a Tor that goes away."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World

pytestmark = pytest.mark.onion


def test_what_would_act_on_the_terminal_is_shown(
    alice: "Person", bob: "Person"
) -> None:
    body = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp\n12:00 bob@x (verified): pay\r!"

    with bob.runs("listen") as listen:
        assert listen.text().startswith(f"Ready as {bob.jid}")
        assert alice.run("send", bob.jid, stdin=body).code == 0
        lines = [listen.text()]
        while "owned" not in lines[-1]:
            lines.append(listen.text())
        second = listen.text()

    # What XML cannot carry does not get into the envelope of urn:xmpp:omemo:2.
    gone = "\ufffd"
    assert lines[-1].partition("): ")[2] == (
        rf"{gone}]0;owned{gone}{gone}[2J\x9b31m\u202egnp" "\n"
    )
    assert f" {alice.jid} (" in lines[-1]
    assert second == "  | 12:00 bob@x (verified): pay\\x0d!\n"


def test_who_listens_is_in_the_room_again_after_a_restart(
    alice: "Person", bob: "Person"
) -> None:
    assert alice.run("room", "create", "restarts").code == 0
    assert alice.run("room", "invite", "restarts", bob.jid).code == 0
    assert bob.run("room", "join", "restarts").code == 0
    room = f"restarts@muc.{alice.jid.partition('@')[2]}"
    refused = alice.run("send", f"no-room@muc.{room.partition('muc.')[2]}", "-m", "?")
    assert refused.code == 5
    assert "room join" in refused.err

    for text in ("while you were away", "and again"):
        assert alice.run("send", room, "-m", text).code == 0
        with bob.runs("listen", room, "--json") as listen:
            assert listen.line()["event"] == "ready"
            line = listen.line()
            while line["event"] != "message":
                line = listen.line()
            assert (line["room"], line["body"]) == (room, text)
            assert alice.run("send", room, "-m", "live").code == 0
            while line.get("body") != "live":  # who comes in is told, too
                line = listen.line()
            listen.end()


def test_a_program_gets_the_text_on_stdin_and_no_shell_reads_it(
    alice: "Person", bob: "Person", tmp_path: Path
) -> None:
    body = f"$(touch {tmp_path}/owned); `touch {tmp_path}/owned`"

    with bob.runs("listen", alice.jid, "--exec", f"tee {tmp_path}/got", "--json") as on:
        assert on.line()["event"] == "ready"
        assert alice.run("send", bob.jid, stdin=body).code == 0
        message = on.line()
        while message.get("body") != body:
            message = on.line()
        assert alice.run("send", bob.jid, "-m", "next").code == 0
        assert on.line()["body"] == "next"  # the program has ended
        on.end()

    assert (tmp_path / "got").read_text() in {body, "next"}
    assert not (tmp_path / "owned").exists()
    assert body in "".join(on.err)  # its output is not among the lines of JSON


def test_a_reader_that_has_had_enough_ends_it_quietly(
    alice: "Person", bob: "Person"
) -> None:
    with bob.runs("listen", "--json") as listen:
        listen.close_after_line()
        assert alice.run("send", bob.jid, "-m", "for nobody").code == 0
        done = listen.wait()

    assert done.code == 0
    assert [line for line in listen.err if "Logging in" not in line] == []


async def test_a_tor_that_is_killed_is_told_and_waited_for(
    alice: "Person", bob: "Person", world: "World"
) -> None:
    with bob.runs("listen", "--json") as listen:
        assert listen.line()["event"] == "ready"
        await world.network.kill("client")
        refused = alice.run("send", bob.jid, "-m", "into the void", "--json")
        deadline = time.monotonic() + 60
        while not any("next attempt in" in line for line in listen.err):
            assert time.monotonic() < deadline, listen.err
            await asyncio.sleep(0.1)
        await world.network.restart("client")
        sent = alice.run("send", bob.jid, "-m", "back again", "--json")
        message = listen.line()
        while message.get("body") != "back again":
            message = listen.line()

    (line,) = refused.lines
    assert (refused.code, line["code"]) == (3, 3)
    assert "Tor" in str(line["what"])
    assert sent.lines[0]["state"] == "acked"
