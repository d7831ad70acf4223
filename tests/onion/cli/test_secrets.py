"""Canaries: passwords, tokens and what people write appear nowhere by accident."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.onion.cli.logged import assert_nobody_is_named

if TYPE_CHECKING:
    from tests.onion.cli.conftest import Person, World

pytestmark = pytest.mark.onion

TEXT = "canary-of-what-was-written-7f3a"
AGENT = ("agent", "start", "-vv", "--json")


@contextmanager
def watched_arguments() -> Iterator[set[bytes]]:
    """Collect the arguments of every process that is seen while the block runs."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    seen.add((entry / "cmdline").read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_no_secret_is_in_an_argument_a_log_or_a_file_of_the_server(
    world: "World", alice: "Person", tmp_path: Path
) -> None:
    invite = world.invite()
    token = invite.partition("preauth=")[2].partition(";")[0]
    secret = tmp_path / "secret"

    with watched_arguments() as arguments:
        # The invite is an argument; it is good for nothing once it was used.
        made = world.run("--profile", "canary", "account", "add", "--invite", invite,
                         "--username", "canary", "-vv")  # fmt: skip
        lines = (world.data / "canary" / "account.toml").read_text().splitlines()
        (password,) = [
            line.split('"')[1] for line in lines if line.startswith("password")
        ]
        secret.touch(mode=0o600)
        secret.write_text(password)
        jid, words = f"canary@{world.onion}", ("--password-file", str(secret))
        again = world.run("--profile", "canary2", "account", "add", jid, *words, "-vv")
        with alice.runs("listen", "--json", "-vv") as listen:
            sent = world.run(
                "--profile", "canary", "send", alice.jid, "-vv", stdin=TEXT
            )
            talked = world.run(
                "--profile", "canary", "chat", alice.jid, "-vv", stdin=TEXT
            )
            with world.runs("--profile", "canary", *AGENT) as agent:
                assert agent.line()["event"] == "ready"
                through = world.run(
                    "--profile", "canary", "send", alice.jid, stdin=TEXT
                )
            heard = 0
            while heard < len((sent, talked, through)):
                heard += listen.line().get("body") == TEXT
            doctor = world.run("--profile", "canary", "doctor", "-vv", "--json")
        broken = world.data / "canary2" / "account.toml"
        broken.write_text(broken.read_text().replace("port = ", "port = x"))
        failed = world.run("--profile", "canary2", "send", alice.jid, "-vv", stdin=TEXT)

    said = [done.out + done.err for done in (made, again, sent, doctor, failed)]
    said += [talked.err, *map("".join, (listen.err, agent.err))]
    codes = [done.code for done in (made, again, sent, talked, through, doctor)]
    assert (codes, failed.code) == ([0] * len(codes), 7)
    for text in (sent.err, talked.err, *map("".join, (listen.err, agent.err))):
        assert_nobody_is_named(text, world.onion, "alice@", "canary@", TEXT)
    for canary in (password, TEXT):
        assert not [text for text in said if canary in text]
        assert not [one for one in arguments if canary.encode() in one]
    assert not [text for text in said if token in text]
    for path in world.server.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path
            assert TEXT.encode() not in path.read_bytes(), path
