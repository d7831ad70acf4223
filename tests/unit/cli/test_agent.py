"""``xmpp-onion agent`` without a server: its lines, its tokens, its unit."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account, locks
from xmpp_onion.agent.caller import END, socket_path

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Answering, Command

# What a command that is answered by a process which runs must not wait for.
HEAVY = {"slixmpp", "omemo", "twomemo", "oldmemo", "stem", "aiosqlite", "cryptography",
         "pydantic", "rich", "segno", "socks"}  # fmt: skip
STATUS = {
    "v": 1, "event": "agent", "state": "connected", "jid": "bob@x.onion",
    "agent": True, "queue": 2, "tor": "127.0.0.1:9050",
    "since": "2026-11-26T07:00:00Z", "pid": 123,
}  # fmt: skip


def test_a_send_beside_an_agent_loads_no_library_that_it_does_not_need(
    account: Account, onion: str, tmp_path: Path, answering: "Answering"
) -> None:
    sent = {"v": 1, "event": "sent", "id": "1", "to": f"a@{onion}", "devices": 1,
            "encrypted": True, "skipped": [], "state": "acked"}  # fmt: skip
    asked = answering(socket_path(account.folder), sent, END)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "xmpp_onion", "--json",
         "--data-dir", str(tmp_path / "data"), "send", f"a@{onion}", "-m", "hi"],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip

    assert json.loads(done.stdout) == sent
    assert json.loads(asked[0])["text"] == "hi"
    imported = {line.rsplit("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "xmpp_onion.agent.caller" in imported
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()


def test_the_status_is_a_line_and_a_code(
    command: "Command", account: Account, answering: "Answering"
) -> None:
    asked = answering(socket_path(account.folder), STATUS, END)
    done = command("agent", "status", "--json")
    assert (done.code, done.lines) == (0, [STATUS])
    assert json.loads(asked[0]) == {"do": "status"}

    answering(socket_path(account.folder), STATUS | {"state": "waiting"}, END)
    assert command("agent", "status", "--json").code == 3
    answering(socket_path(account.folder), STATUS, END)
    assert command("agent", "status").out == (
        "bob@x.onion: connected, since 2026-11-26T07:00:00Z; 2 wait to be sent, "
        "Tor at 127.0.0.1:9050 (an agent, process 123)\n"
    )


def test_whom_the_account_is_lent_to_is_told(
    command: "Command", account: Account, answering: "Answering"
) -> None:
    loan = {"to": "chat", "pid": 456, "since": "2026-11-26T08:00:00Z"}
    lent = STATUS | {"lent": loan}
    answering(socket_path(account.folder), lent, END)
    done = command("agent", "status", "--json")
    assert (done.code, done.lines) == (0, [lent])
    answering(socket_path(account.folder), lent, END)
    assert command("agent", "status").out == (
        "bob@x.onion: connected, since 2026-11-26T07:00:00Z; 2 wait to be sent, "
        "Tor at 127.0.0.1:9050 (an agent, process 123, lent to chat, process 456)\n"
    )
    begun = {key: STATUS[key] for key in ("v", "event", "jid", "agent", "pid")}
    answering(socket_path(account.folder), begun | {"state": "waiting"}, END)
    done = command("agent", "status")
    assert (done.code, done.out) == (
        3,
        "bob@x.onion: waiting (an agent, process 123)\n",
    )

    stopping = {"v": 1, "event": "agent", "state": "stopping", "lent": loan}
    answering(socket_path(account.folder), stopping, END)
    done = command("agent", "stop", "--json")
    assert (done.code, done.lines) == (0, [
        {"v": 1, "event": "agent", "state": "stopped", "profile": "default",
         "lent": loan}
    ])  # fmt: skip
    answering(socket_path(account.folder), stopping, END)
    assert command("agent", "stop").out == (
        "The agent has ended. Its account was lent to chat, process 456, which goes "
        "on.\n"
    )


def test_chat_asks_nobody_but_an_agent_that_has_its_account(
    command: "Command", account: Account, answering: "Answering"
) -> None:
    path = account.folder / "store.sqlite3.lock"
    held = STATUS | {"agent": False}
    lent = STATUS | {"lent": {"to": "chat", "pid": 456, "since": "x"}}
    with locks.hold(path):
        for line in (held, lent):
            asked = answering(socket_path(account.folder), line, END)
            done = command("chat", "--", f"a@{account.jid.domain}")
            assert done.code == 7
            assert "only an agent lends the account" in done.err
            assert [json.loads(each) for each in asked] == [{"do": "status"}]


@pytest.mark.usefixtures("account")
def test_no_agent_is_a_line_and_code_7(command: "Command") -> None:
    done = command("agent", "status", "--json")

    assert done.code == 7
    assert done.lines == [
        {"v": 1, "event": "agent", "state": "stopped", "profile": "default"}
    ]
    assert command("agent", "stop", "--json").code == 0


def test_who_is_stopped_and_who_never_ran_are_told_apart(
    command: "Command", account: Account, answering: "Answering"
) -> None:
    nobody = "Nobody holds the account of the profile 'default'.\n"
    assert command("agent", "stop").out == nobody

    answering(socket_path(account.folder), STATUS, END)
    assert command("agent", "stop").out == "It has ended. " + nobody


def test_who_is_no_agent_is_not_stopped(
    command: "Command", account: Account, answering: "Answering"
) -> None:
    error = {"v": 1, "event": "error", "code": 7, "what": "x", "why": "y", "fix": "z"}
    answering(socket_path(account.folder), error, END)
    done = command("agent", "stop", "--json")

    assert (done.code, done.lines) == (7, [error])


@pytest.mark.usefixtures("account")
def test_tokens_are_made_listed_and_taken_back(command: "Command", onion: str) -> None:
    ops = f"ops@{onion}"
    made = command("agent", "token", "add", "monitor", "--to", ops, "--json")
    listed = command("agent", "token", "list", "--json")
    twice = command("agent", "token", "add", "monitor", "--to", ops, "--json")
    gone = command("agent", "token", "remove", "monitor", "--json")
    none = command("agent", "token", "list")

    (line,) = made.lines
    since, token = line["since"], line["token"]
    assert line == {
        "v": 1, "event": "token", "name": "monitor", "may": "send", "to": [ops],
        "since": since, "token": token,
    }  # fmt: skip
    assert listed.lines == [{key: line[key] for key in line if key != "token"}]
    assert (twice.code, twice.lines[0]["event"]) == (2, "error")
    assert gone.lines == [listed.lines[0] | {"event": "token-removed"}]
    assert (none.out, none.err) == ("", "There is none.\n")


@pytest.mark.usefixtures("account")
def test_a_token_alone_is_printed_for_a_file(command: "Command", onion: str) -> None:
    made = command("agent", "token", "add", "monitor", "--to", f"ops@{onion}")

    assert made.out.startswith("xmpp-onion-")
    assert len(made.out.split()) == 1


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_an_agent_needs_an_account_and_a_tor(
    command: "Command", account: Account, detach: list[str]
) -> None:
    assert command("agent", "start", *detach, "--json").code == 3  # no Tor
    (account.folder / "account.toml").unlink()
    assert command("agent", "start", *detach, "--json").code == 7


@pytest.mark.usefixtures("account")
def test_a_socket_is_shared_with_a_group_or_not_at_all(
    command: "Command", tmp_path: Path
) -> None:
    sock = str(tmp_path / "sock")
    assert command("agent", "start", "--share", sock).code == 2
    assert command("agent", "start", "--group", "root").code == 2


def test_an_agent_of_a_service_waits_for_who_holds_its_account(
    command: "Command", account: Account
) -> None:
    waiting = [sys.executable, "-m", "xmpp_onion", "--data-dir", account.folder.parent,
               "--socks", "127.0.0.1:9", "-v", "agent", "start", "--wait"]  # fmt: skip
    with ExitStack() as held:
        held.enter_context(locks.hold(account.folder / "store.sqlite3.lock"))
        assert command("agent", "start", "--json").code == 7
        assert command("agent", "start", "--wait", "--detach").code == 2
        with subprocess.Popen(waiting, stderr=subprocess.PIPE, text=True) as agent:
            assert agent.stderr is not None
            assert any("not taken yet" in line for line in agent.stderr)
            held.close()
            agent.stderr.read()
            assert agent.wait(300) == 3  # its turn, and there is no Tor


@pytest.mark.usefixtures("account")
def test_the_unit_starts_this_agent(command: "Command", tmp_path: Path) -> None:
    text = command("--data-dir", str(tmp_path / 'a "b" %c'), "agent", "unit").out
    (start,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert start.endswith(
        f'-m xmpp_onion --profile default --data-dir "{tmp_path}/a \\"b\\" %%c"'
        f" --socks {start.split('--socks ')[1]}"
    )
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        unit = tmp_path / "xmpp-onion-agent.service"
        unit.write_text(text)
        done = subprocess.run(
            [verify, "--user", "verify", str(unit)],
            capture_output=True, text=True, check=False,
            env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert unit.name not in done.stderr
