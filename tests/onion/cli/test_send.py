"""Sending over a real onion, alone and beside the process that holds the account."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World


pytestmark = pytest.mark.onion


def test_a_pipe_is_sent_and_acknowledged(alice: "Person", bob: "Person") -> None:
    with bob.runs("listen", "--json") as listen:
        assert listen.line() == {"v": 1, "event": "ready", "jid": bob.jid}
        sent = alice.run("send", bob.jid, "--json", stdin="disk full\non /dev/sda\n")
        # What an earlier reader printed and was ended over is printed again.
        message = listen.line()
        while message.get("body") != "disk full\non /dev/sda":
            message = listen.line()
        again = alice.run("send", bob.jid, "-m", "second")
        second = listen.line()
        ended = listen.end()

    (line,) = sent.lines
    assert sent.code == 0, sent.err
    assert line | {"id": "", "skipped": []} == {
        "v": 1, "event": "sent", "id": "", "to": bob.jid, "encrypted": True,
        "devices": 1, "skipped": [], "text_only": 0, "state": "acked", "reason": None,
    }  # fmt: skip
    assert message.pop("at")
    assert message == {
        "v": 1, "event": "message", "id": line["id"], "from": alice.jid,
        "to": bob.jid, "room": None, "body": "disk full\non /dev/sda",
        "encrypted": True, "namespace": "urn:xmpp:omemo:2", "reply_to": None,
        "expires_at": None, "mentions": [], "mentions_me": False,
        "device": message["device"], "fingerprint": alice.fingerprint, "trust": "tofu",
    }  # fmt: skip
    assert isinstance(message["device"], int)
    assert (again.code, second["body"]) == (0, "second")
    assert "acked" in again.out
    assert (ended.code, ended.out) == (0, "")


def test_a_holder_sends_for_others_and_a_second_one_is_refused(
    alice: "Person", bob: "Person"
) -> None:
    with alice.runs("listen", "--json") as listen:
        assert listen.line()["event"] == "ready"
        sent = alice.run("send", bob.jid, "-m", "beside", "--json", "-v")
        second = alice.run("listen", "--json")
        bot = alice.run("account", "remove", "--yes", "--json")
        assert listen.process.poll() is None

    assert sent.lines[0]["state"] == "acked"
    assert "Logging in" not in sent.err  # no session of its own
    for refused in (second, bot):
        (line,) = refused.lines
        assert (refused.code, line["code"]) == (7, 7)
        assert f"process {listen.process.pid}" in str(line["why"])


def test_messages_that_wait_are_delivered_once(alice: "Person", bob: "Person") -> None:
    assert alice.run("send", bob.jid, "-m", "one", "-v").code == 0

    with bob.runs("listen", "--json") as listen:
        lines = [listen.line()]
        while lines[-1].get("body") != "one":
            lines.append(listen.line())
        # A message counts as handled when the next is asked for; by now it was.
        assert bob.run("devices", "list").code == 0
        listen.end(signal.SIGINT)
        assert listen.process.returncode == 130
    with bob.runs("listen", "--json") as listen:
        ready = listen.line()
        assert alice.run("send", bob.jid, "-m", "two").code == 0
        after = listen.line()

    assert ready["event"] == "ready"
    assert after["body"] == "two"


def test_an_undecided_device_exits_with_4_and_the_line_that_decides(
    carol: "Person", alice: "Person"
) -> None:
    refused = carol.run("send", alice.jid, "-m", "hi", "--json")
    decided = carol.run("trust", "verify", alice.jid, alice.fingerprint, "--json")
    sent = carol.run("send", alice.jid, "-m", "hi", "--json")

    (line,) = refused.lines
    assert (refused.code, line["code"], line["event"]) == (4, 4, "error")
    assert line["to"] == alice.jid
    assert f"`xmpp-onion trust verify {alice.jid} {alice.fingerprint}`" in str(
        line["fix"]
    )
    assert decided.lines[0]["trust"] == "verified"
    assert (sent.code, sent.lines[0]["state"]) == (0, "acked")


def test_nobody_to_encrypt_for_exits_with_4(alice: "Person", world: "World") -> None:
    done = alice.run("send", f"nobody@{world.onion}", "-m", "hi", "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (4, 4)


def test_a_message_without_an_ack_exits_with_8_and_goes_out_later(
    alice: "Person", bob: "Person", world: "World"
) -> None:
    (pid,) = prosodies(world)
    with alice.runs("listen", "--json") as listen:
        assert listen.line()["event"] == "ready"
        assert alice.run("send", bob.jid, "-m", "before").code == 0
        os.kill(pid, signal.SIGSTOP)
        try:
            late = alice.run("send", bob.jid, "-m", "late", "--timeout", "2", "--json")
            asked = alice.run(
                "send", bob.jid, "-m", "later", "--wait", "none", "--json"
            )
        finally:
            os.kill(pid, signal.SIGCONT)
        with bob.runs("listen", "--json") as heard:
            bodies = [heard.line().get("body")]
            while bodies[-1] != "later":
                bodies.append(heard.line().get("body"))

    (line,) = late.lines
    assert (late.code, line["code"]) == (8, 8)
    assert "queued" in str(line["fix"])
    assert (asked.code, asked.lines[0]["state"]) == (0, "queued")
    assert bodies[-3:] == ["before", "late", "later"]


def test_a_holder_that_ends_tells_those_who_wait(
    alice: "Person", bob: "Person", world: "World"
) -> None:
    (pid,) = prosodies(world)
    with alice.runs("listen", "--json") as listen:
        assert listen.line()["event"] == "ready"
        os.kill(pid, signal.SIGSTOP)
        try:
            with alice.runs("send", bob.jid, "-m", "waits", "--json") as send:
                time.sleep(1.5)  # it has asked by then, or finds nobody: both end
                ended = listen.end()
                waited = send.wait()
        finally:
            os.kill(pid, signal.SIGCONT)

    (line,) = waited.lines
    assert (ended.code, waited.code, line["code"]) == (0, 3, 3)
    assert "ended while it was asked" in str(line["what"])


def prosodies(world: "World") -> list[int]:
    """The processes whose working directory is the server's."""
    home, found = world.server / "prosody" / "data", []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if (entry / "cwd").readlink() == home:
                found.append(int(entry.name))
    return found
