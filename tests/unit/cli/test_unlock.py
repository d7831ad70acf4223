"""Encrypted accounts on the command line: what opens them, and what does not."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account, locks
from xmpp_onion.agent.caller import END, socket_path
from xmpp_onion.seal import Kind, Secret

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

PASSPHRASE = "correct horse battery staple"
PIN = ["trust", "pin", "alice@{onion}", "ab" * 32, "--json"]


def make_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def encrypted(account: Account) -> Account:
    """Bob, who is opened with a passphrase."""
    made = account.encrypted(Secret.passphrase(PASSPHRASE))
    made.save()
    return made


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return make_file(tmp_path / "key", bytes(range(40)))


def filled(words: list[str], onion: str) -> list[str]:
    return [word.format(onion=onion) for word in words]


@pytest.mark.usefixtures("encrypted")
def test_without_a_passphrase_it_exits_with_7_and_says_how_to_give_it(
    command: "Command", onion: str
) -> None:
    for words in (PIN, ["listen", "--json"], ["devices", "list", "--json"]):
        done = command(*filled(words, onion))

        (line,) = done.lines
        assert (done.code, line["code"]) == (7, 7)
        assert "--passphrase-file" in str(line["fix"])


@pytest.mark.usefixtures("encrypted")
def test_a_wrong_passphrase_exits_with_7_and_changes_nothing(
    command: "Command", encrypted: Account, onion: str
) -> None:
    before = (encrypted.folder / "account.toml").read_bytes()

    done = command(*filled(PIN, onion), "--passphrase-file", "-", stdin="wrong one\n")

    (line,) = done.lines
    assert done.code == 7
    assert "wrong" in str(line["what"])
    assert "wrong one" not in done.out + done.err
    assert (encrypted.folder / "account.toml").read_bytes() == before


@pytest.mark.parametrize("way", ["stdin", "file", "environment", "systemd"])
@pytest.mark.usefixtures("encrypted")
def test_a_passphrase_comes_from_where_secrets_may_come(
    command: "Command", onion: str, tmp_path: Path, way: str
) -> None:
    path = make_file(tmp_path / "store-passphrase", f"{PASSPHRASE}\n".encode())
    words = filled(PIN, onion)
    match way:
        case "stdin":
            done = command(*words, "--passphrase-file", "-", stdin=f"{PASSPHRASE}\n")
        case "file":
            done = command("--passphrase-file", str(path), *words)
        case "environment":
            done = command(*words, XMPP_ONION_PASSPHRASE_FILE=str(path))
        case _:
            path.chmod(0o444)  # systemd looks after it
            done = command(*words, CREDENTIALS_DIRECTORY=str(tmp_path))

    assert done.code == 0, done
    assert PASSPHRASE not in done.out + done.err


def saying(text: str, code: int = 0) -> str:
    """Return a command that says something and ends so."""
    program = f"print({text!r}); raise SystemExit({code})"
    return json.dumps([sys.executable, "-c", program])


@pytest.mark.usefixtures("encrypted")
def test_a_passphrase_is_the_first_line_that_a_program_says(
    command: "Command", onion: str
) -> None:
    said = saying(f"{PASSPHRASE}\nuser: bob")

    done = command(*filled(PIN, onion), XMPP_ONION_PASSPHRASE_COMMAND=said)

    assert done.code == 0, done
    assert PASSPHRASE not in done.out + done.err


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (saying(PASSPHRASE, code=3), "ended with 3"),
        (json.dumps(["/nowhere/at-all"]), "could not be run (FileNotFoundError)"),
        (f"echo {PASSPHRASE}", "no JSON list"),
        (json.dumps([]), "no JSON list"),
        (json.dumps([1]), "no JSON list"),
        (saying(""), "0 bytes"),
    ],
    ids=["fails", "missing", "shell", "empty", "number", "silent"],
)
@pytest.mark.usefixtures("encrypted")
def test_a_program_that_says_no_passphrase_exits_with_7(
    command: "Command", onion: str, value: str, why: str
) -> None:
    done = command(*filled(PIN, onion), XMPP_ONION_PASSPHRASE_COMMAND=value)

    assert done.code == 7
    assert why in str(done.lines[0]["why"])
    assert PASSPHRASE not in done.out + done.err


@pytest.mark.parametrize("way", ["option", "environment", "systemd"])
def test_a_key_comes_from_where_secrets_may_come(
    command: "Command", account: Account, onion: str, key_file: Path, way: str
) -> None:
    account.encrypted(Secret.read(Kind.KEY_FILE, key_file)).save()
    words = filled(PIN, onion)
    match way:
        case "option":
            done = command(*words, "--key-file", str(key_file))
        case "environment":
            done = command(*words, XMPP_ONION_KEY_FILE=str(key_file))
        case _:
            key_file.rename(key_file.with_name("store-key"))
            done = command(*words, CREDENTIALS_DIRECTORY=str(key_file.parent))

    assert done.code == 0, done


def test_a_key_file_that_others_can_read_exits_with_7(
    command: "Command", account: Account, onion: str, key_file: Path
) -> None:
    account.encrypted(Secret.read(Kind.KEY_FILE, key_file)).save()
    key_file.chmod(0o644)

    done = command(*filled(PIN, onion), "--key-file", str(key_file))

    assert done.code == 7
    assert done.lines[0]["fix"] == f"chmod 600 {key_file}"


@pytest.mark.usefixtures("encrypted")
def test_two_secrets_at_once_are_a_usage_error(
    command: "Command", onion: str, key_file: Path
) -> None:
    done = command(
        *filled(PIN, onion), "--key-file", str(key_file), "--passphrase-file", "-"
    )

    assert done.code == 2


@pytest.mark.usefixtures("account")
def test_an_account_in_the_clear_asks_for_nothing(
    command: "Command", onion: str
) -> None:
    assert command(*filled(PIN, onion)).code == 0


def test_beside_its_holder_no_passphrase_is_needed(
    command: "Command", encrypted: Account
) -> None:
    device = {"v": 1, "event": "device", "jid": "x", "device": 1, "fingerprint": "ab",
              "trust": "tofu", "label": None, "active": True, "own": True,
              "seen": None}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(encrypted.folder)))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as file:
                file.readline()
                for line in (device, END):
                    file.write(json.dumps(line).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        done = command("devices", "list", "--json")
        thread.join(timeout=60)

    assert (done.code, done.lines) == (0, [device])


def test_an_encrypted_account_is_listed_without_being_opened(
    command: "Command", encrypted: Account
) -> None:
    done = command("account", "list", "--json")

    assert done.code == 0
    assert done.lines == [
        {"v": 1, "event": "account", "profile": "default", "jid": None,
         "trust": None, "encrypted": True}
    ]  # fmt: skip
    assert encrypted.jid not in command("account", "list").out


@pytest.mark.usefixtures("encrypted")
def test_an_encrypted_account_is_removed_without_being_opened(
    command: "Command", tmp_path: Path
) -> None:
    done = command("account", "remove", "--yes", "--json")

    assert done.code == 0
    assert done.lines[0]["event"] == "removed"
    assert not (tmp_path / "data" / "default").exists()


def test_an_account_is_encrypted_and_given_another_passphrase(
    command: "Command", account: Account, onion: str, tmp_path: Path
) -> None:
    path = account.folder / "account.toml"
    first = str(make_file(tmp_path / "first", b"one passphrase\n"))
    second = str(make_file(tmp_path / "second", bytes(range(64))))

    done = command("account", "encrypt", "--passphrase-file", first, "--json")
    assert done.code == 0, done
    assert (done.lines[0]["event"], done.lines[0]["encrypted"]) == ("encrypted", True)
    assert b"canary-of-bob" not in path.read_bytes()
    assert account.jid.encode() not in path.read_bytes()
    assert command(*filled(PIN, onion), "--passphrase-file", first).code == 0

    again = command("account", "encrypt", "--passphrase-file", first, "--json")
    assert again.code == 7
    assert "already" in str(again.lines[0]["what"])

    changed = command(
        "account", "passphrase", "--passphrase-file", first,
        "--new-key-file", second, "--json",
    )  # fmt: skip
    assert changed.code == 0, changed
    assert tomllib.loads(path.read_text())["seal"]["kind"] == "key-file"
    assert command(*filled(PIN, onion), "--passphrase-file", first).code == 7
    assert command(*filled(PIN, onion), "--key-file", second).code == 0


@pytest.mark.usefixtures("account")
def test_where_nobody_can_be_asked_nothing_is_encrypted(
    command: "Command", onion: str
) -> None:
    for words in (
        ["account", "encrypt"],
        ["--profile", "x", "account", "add", f"bob@{onion}", "--encrypt",
         "--password-file", "-"],
    ):  # fmt: skip
        done = command(*words, "--json", stdin="x\n")

        assert done.code == 2, done
        assert "--passphrase-file" in str(done.lines[0]["what"])


def test_only_an_encrypted_account_has_a_passphrase_to_change(
    command: "Command", account: Account, key_file: Path
) -> None:
    before = (account.folder / "account.toml").read_bytes()

    done = command("account", "passphrase", "--new-key-file", str(key_file), "--json")

    assert done.code == 7
    assert "account encrypt" in str(done.lines[0]["fix"])
    assert (account.folder / "account.toml").read_bytes() == before


def test_a_new_account_is_encrypted_before_anything_of_it_is_on_the_disk(
    onion: str, tmp_path: Path, key_file: Path
) -> None:
    made = tmp_path / "data" / "default" / "account.toml"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # a Tor that never answers
        subprocess.Popen(
            [sys.executable, "-m", "xmpp_onion", "--data-dir", str(tmp_path / "data"),
             "--socks", f"127.0.0.1:{silent.getsockname()[1]}",
             "account", "add", f"bob@{onion}", "--password-file", "-",
             "--key-file", str(key_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        assert process.stdin
        process.stdin.write(b"swordfish\n")
        process.stdin.close()
        while not made.exists():
            assert process.poll() is None
        text = made.read_text()
        process.terminate()
        process.wait(timeout=300)

    assert set(tomllib.loads(text)) == {"sealed", "seal"}
    assert "swordfish" not in text
    assert onion not in text


def on_a_terminal(
    arguments: list[str], typed: list[str], data: Path
) -> tuple[int, str]:
    """Run a command with a person before it, and return how it ended and looked."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.environ["XMPP_ONION_DATA_DIR"] = str(data)
        os.execv(  # noqa: S606 - a fixed argument list
            sys.executable, [sys.executable, "-m", "xmpp_onion", *arguments]
        )
    shown = b""
    for text in typed:
        while not re.search(rb"(?i)passphrase[^\n]*: $|confirmation: $", shown):
            shown += os.read(terminal, 4096)
        os.write(terminal, f"{text}\n".encode())
        shown += os.read(terminal, 1)
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other side has gone
            break
        if not chunk:
            break
        shown += chunk
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_on_a_terminal_it_is_asked_for_and_not_shown(
    encrypted: Account, tmp_path: Path, onion: str
) -> None:
    assert encrypted.seal
    data = tmp_path / "data"

    code, shown = on_a_terminal(filled(PIN, onion), [PASSPHRASE], data)
    assert code == 0, shown
    assert "pinned" in shown
    assert PASSPHRASE not in shown

    code, shown = on_a_terminal(filled(PIN, onion), ["wrong one"], data)
    assert code == 7
    assert "wrong one" not in shown


def test_a_new_passphrase_is_asked_for_twice(account: Account, tmp_path: Path) -> None:
    code, shown = on_a_terminal(
        ["account", "encrypt"], [PASSPHRASE, PASSPHRASE], tmp_path / "data"
    )

    assert code == 0, shown
    assert PASSPHRASE not in shown
    loaded = Account.load(
        "default", tmp_path / "data", secret=Secret.passphrase(PASSPHRASE)
    )
    assert loaded.password == account.password


@pytest.mark.parametrize("words", [PIN, ["listen"], ["devices", "list"], ["doctor"]])
@pytest.mark.usefixtures("encrypted")
def test_one_ctrl_c_ends_the_question(
    tmp_path: Path, onion: str, words: list[str]
) -> None:
    code, shown = on_a_terminal(filled(words, onion), ["\x03"], tmp_path / "data")

    assert code == 130, shown


@pytest.mark.usefixtures("encrypted")
def test_the_doctor_says_that_it_could_not_look_inside(command: "Command") -> None:
    done = command("doctor", "--offline", "--json")

    [line] = [line for line in done.lines if line["name"] == "account"]
    assert done.code == 7
    assert line["ok"] is False
    assert "--passphrase-file" in str(line["fix"])


def test_another_holder_is_noticed_before_anything_is_asked_for(
    command: "Command", encrypted: Account
) -> None:
    lock = make_file(encrypted.folder / "store.sqlite3.lock", b"4711\n")

    with locks.hold(lock):
        listen = command("listen", "--json")
        doctor = command("doctor", "--offline", "--json")

    (line,) = listen.lines
    assert (listen.code, "in use" in str(line["what"])) == (7, True)
    (check,) = (one for one in doctor.lines if one["name"] == "account")
    assert "4711" in str(check["why"])  # it does not answer


def test_an_invite_may_come_from_stdin(command: "Command", onion: str) -> None:
    done = command("account", "add", "--invite", "-", "--json", stdin=f"xmpp:{onion}\n")

    (line,) = done.lines
    assert "invite" in str(line["what"])  # it was read, and has no token
