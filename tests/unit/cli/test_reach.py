"""Every way that leads to an account, with an account or a Tor that is no good."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account
from xmpp_onion.agent.caller import END, socket_path

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


COMMANDS = [
    ["send", "alice@{onion}", "-m", "hi"],
    ["listen"],
    ["contact", "list"],
    ["trust", "list"],
    ["devices", "list"],
]


def find(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} of util-linux is not installed"
    return path


def filled(arguments: list[str], onion: str) -> list[str]:
    return [word.format(onion=onion) for word in arguments]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
@pytest.mark.usefixtures("account")
def test_a_tor_that_does_not_run_exits_with_3(
    command: "Command", arguments: list[str], onion: str
) -> None:
    done = command(*filled(arguments, onion), "--json")

    (line,) = done.lines
    assert done.code == 3
    assert (line["event"], line["code"]) == ("error", 3)
    assert line["what"]
    assert line["why"]
    assert line["fix"]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
def test_an_account_that_somebody_holds_exits_with_7(
    command: "Command", account: Account, arguments: list[str], onion: str
) -> None:
    lock = Path(f"{account.store_path}.lock")
    lock.touch(mode=0o600)
    with subprocess.Popen(
        [find("flock"), str(lock), "sleep", "60"],
        start_new_session=True,
    ) as holder:
        try:
            done = command(*filled(arguments, onion), "--json")
            while done.code == 3:  # flock was not there yet
                done = command(*filled(arguments, onion), "--json")
        finally:
            os.killpg(holder.pid, 9)

    (line,) = done.lines
    assert done.code == 7
    assert "in use" in str(line["what"])
    assert done.err == ""  # it was refused before anything was tried


def test_who_is_refused_does_not_load_the_encryption_libraries(
    account: Account, tmp_path: Path
) -> None:
    script = (
        "import fcntl, sys; from xmpp_onion.cli.main import _CLI, run\n"
        "from xmpp_onion.cli.settings import Settings\n"
        "file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "assert run(_CLI, ['listen'], Settings()) == 7\n"
        "print([n for n in ('omemo', 'slixmpp_omemo', 'rich') if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, f"{account.store_path}.lock"],
        env={**os.environ, "XMPP_ONION_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"


def test_a_send_through_the_holder_does_not_load_the_encryption_libraries(
    account: Account, tmp_path: Path, onion: str
) -> None:
    sent = {"v": 1, "event": "sent", "to": "x", "devices": 1, "skipped": [],
            "state": "acked"}  # fmt: skip
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(account.folder)))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as file:
                asked.append(file.readline())
                for line in (sent, END):
                    file.write(json.dumps(line).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "xmpp_onion", "send",
             f"alice@{onion}", "-m", "hi", "--json"],
            env={**os.environ, "XMPP_ONION_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        thread.join(timeout=60)

    imported = {line.rsplit("|")[-1].strip() for line in done.stderr.splitlines()}
    assert json.loads(asked[0])["text"] == "hi"
    assert json.loads(done.stdout) == sent
    assert "xmpp_onion.agent.caller" in imported
    heavy = {"omemo", "slixmpp_omemo", "twomemo", "oldmemo", "rich", "segno"}
    assert {name.partition(".")[0] for name in imported} & heavy == set()


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
def test_a_profile_without_account_exits_with_7(
    command: "Command", arguments: list[str], onion: str
) -> None:
    done = command("--profile", "nobody", *filled(arguments, onion), "--json")

    (line,) = done.lines
    assert done.code == 7
    assert "nobody" in str(line["what"])
    assert "account add" in str(line["fix"])


@pytest.mark.parametrize(
    "text", ["", "junk", 'jid = "x"', "\xff\xfe", "[pins]\n[pins]\n", "a = 1\x00"]
)
def test_a_broken_account_exits_with_7_and_is_left_alone(
    command: "Command", account: Account, text: str
) -> None:
    path = account.folder / "account.toml"
    path.write_bytes(text.encode("latin-1"))

    done = command("devices", "list", "--json")

    (line,) = done.lines
    assert done.code == 7
    assert "account.toml" in str(line["what"])
    assert "backup" in str(line["fix"])
    assert path.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize("where", ["", "default", "default/account.toml"])
def test_what_others_can_read_exits_with_7_and_the_line_that_closes_it(
    command: "Command", account: Account, where: str, tmp_path: Path
) -> None:
    assert account.folder.is_dir()
    path = tmp_path / "data" / where
    opened, closed = (0o755, 0o700) if path.is_dir() else (0o644, 0o600)
    path.chmod(opened)

    done = command("listen", "--json")

    (line,) = done.lines
    assert done.code == 7
    assert line["fix"] == f"chmod {closed:o} {path}"


def test_a_name_that_leads_out_of_the_folder_is_refused(command: "Command") -> None:
    done = command("--profile", "../x", "devices", "list", "--json")

    assert done.code == 7
    assert "profile" in str(done.lines[0]["what"])


@pytest.mark.usefixtures("account")
def test_nobody_is_said_to_log_in_where_there_is_no_tor(
    command: "Command", onion: str
) -> None:
    done = command("send", f"alice@{onion}", "-m", "hello")

    assert done.code == 3
    assert "Tor" in done.err.splitlines()[0]
    assert "Logging in" not in done.err


@pytest.mark.usefixtures("account")
def test_a_socks_port_by_name_is_a_usage_error(command: "Command") -> None:
    done = command("--socks", "example.org:9050", "listen", "--json")

    assert done.code == 2
    assert len(done.lines) == 1


def test_a_second_chat_says_what_can_be_done_instead(
    command: "Command", account: Account, onion: str
) -> None:
    with Path(f"{account.store_path}.lock").open("w") as lock:
        Path(lock.name).chmod(0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = command("chat", f"alice@{onion}", stdin="hello\n")

    assert done.code == 7
    assert "in use" in done.err
    assert "only an agent lends the account" in done.err
    assert "xmpp-onion send JID" in done.err
    assert done.out == ""
