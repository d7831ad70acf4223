import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


TOKEN = "ZmFrZXRva2VuZm9ydGVzdA"


def find(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} of util-linux is not installed"
    return path


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def invite(onion: str) -> str:
    return f"xmpp:{onion}?register;preauth={TOKEN}"


def test_an_invite_without_tor_exits_with_3_and_leaves_no_profile(
    command: "Command", invite: str, tmp_path: Path
) -> None:
    done = command("account", "add", "--invite", invite, "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (3, 3)
    assert tree(tmp_path) in (["data"], [])
    assert TOKEN not in done.out + done.err


def test_a_login_without_tor_exits_with_3_and_leaves_no_profile(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    done = command(
        "account", "add", f"bob@{onion}", "--password-file", "-", stdin="swordfish\n"
    )

    assert done.code == 3
    assert tree(tmp_path) in (["data"], [])
    assert "swordfish" not in done.out + done.err


def test_what_else_lies_in_the_folder_is_never_removed(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "default"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    (folder / "thesis.txt").write_text("years of work")

    done = command("account", "add", f"bob@{onion}", "--password-file", "-", stdin="x")

    assert done.code == 3
    assert tree(folder) == ["thesis.txt"]


def test_a_second_account_in_a_profile_exits_with_7(
    command: "Command", account: Account, onion: str
) -> None:
    before = (account.folder / "account.toml").read_text()

    done = command("account", "add", f"eve@{onion}", "--password-file", "-", stdin="x")

    assert done.code == 7
    assert "--profile" in done.err
    assert (account.folder / "account.toml").read_text() == before


def test_keys_without_an_account_are_not_given_to_another(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "default"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    (folder / "store.sqlite3").write_text("keys")

    done = command("account", "add", f"bob@{onion}", "--password-file", "-", stdin="x")

    assert done.code == 7
    assert "backup" in done.err
    assert (folder / "store.sqlite3").read_text() == "keys"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["bob@example.org", "--password-file", "-"], "onion"),
        (["{onion}", "--password-file", "-"], "person"),
        (["bob@{wrong}", "--password-file", "-"], "onion"),
        (["bob@{onion}"], "--password-file"),
        (["bob@{onion}", "--password-file", "-", "--cert-sha256", "xy"], "64 hex"),
        (["bob@{onion}", "--password-file", "-", "--port", "0"], "port"),
        (["bob@{onion}", "--password-file", "-", "--trust", "blind"], "trust"),
        (["--invite", "https://example.org/"], "invite"),
        (["--invite", "-"], "invite"),
        (["--invite", "xmpp:{wrong}?register;preauth=abcdefgh12345678"], "onion"),
        (["bob@{onion}", "--invite", "xmpp:{onion}?register;preauth=x"], "either"),
        (["--invite", "xmpp:amy@{onion}?register;preauth=abcdefgh12345678",
          "--username", "bob"], "amy"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_a_usage_error_exits_with_2_and_leaves_nothing(
    command: "Command", onion: str, tmp_path: Path, arguments: list[str], word: str
) -> None:
    wrong = onion.replace("a", "b", 1)  # the check sum is another
    words = [one.format(onion=onion, wrong=wrong) for one in arguments]

    done = command("account", "add", *words, "--json")

    (line,) = done.lines
    assert (done.code, line["code"]) == (2, 2), done
    assert word in f"{line['what']} {line['why']}".lower()
    assert tree(tmp_path) == []


def test_a_password_file_that_others_can_read_exits_with_7(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("swordfish")
    path.chmod(0o644)

    done = command("account", "add", f"bob@{onion}", "--password-file", str(path))

    assert done.code == 7
    assert "chmod" in done.err
    assert "swordfish" not in done.err


def test_a_password_file_may_be_named_by_the_environment(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    done = command(
        "account", "add", f"bob@{onion}",
        XMPP_ONION_PASSWORD_FILE=str(tmp_path / "not-there"),
    )  # fmt: skip

    assert done.code == 7
    assert "not-there" in done.err


def test_systemd_may_hand_over_the_password(
    command: "Command", onion: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("swordfish\n")

    done = command(
        "account", "add", f"bob@{onion}", CREDENTIALS_DIRECTORY=str(tmp_path)
    )

    assert done.code == 3  # it had one, and went on to Tor


def test_a_folder_that_cannot_be_written_exits_with_7(
    onion: str, tmp_path: Path, root: Path
) -> None:
    # Permissions mean nothing to root, until he loses that capability.
    become = [find("setpriv"), "--bounding-set=-dac_override,-dac_read_search"]
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)

    done = subprocess.run(
        [*(become if os.geteuid() == 0 else []), sys.executable, "-B",
         "-m", "xmpp_onion", "--data-dir", str(closed / "data"),
         "account", "add", f"bob@{onion}", "--password-file", "-"],
        input="x",
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 7, done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_accounts_are_listed_with_the_broken_ones(
    command: "Command", account: Account, tmp_path: Path
) -> None:
    broken = tmp_path / "data" / "broken"
    broken.mkdir(mode=0o700)
    (broken / "account.toml").touch(mode=0o600)

    done = command("account", "list", "--json")

    assert done.code == 7
    assert [line["event"] for line in done.lines] == ["error", "account"]
    assert done.lines[1]["jid"] == account.jid


def test_no_accounts_are_a_hint_and_no_error(command: "Command") -> None:
    done = command("account", "list")

    assert (done.code, done.out) == (0, "")
    assert "account add" in done.err


@pytest.mark.usefixtures("account")
def test_nothing_is_removed_where_nobody_can_be_asked(
    command: "Command", tmp_path: Path
) -> None:
    done = command("account", "remove")

    assert done.code == 2
    assert "--yes" in done.err
    assert "data/default/account.toml" in tree(tmp_path)


@pytest.mark.usefixtures("account")
def test_an_account_is_removed_with_all_that_belongs_to_it(
    command: "Command", tmp_path: Path
) -> None:
    done = command("account", "remove", "--yes", "--json")

    assert done.code == 0
    assert done.lines[0]["event"] == "removed"
    assert tree(tmp_path) == ["data"]


def test_a_full_disk_exits_with_7_and_leaves_no_profile(
    onion: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [find("prlimit"), "--fsize=16:16", sys.executable, "-B", "-m", "xmpp_onion",
         "--socks", "127.0.0.1:1", "--data-dir", str(tmp_path / "data"),
         "account", "add", f"bob@{onion}", "--password-file", "-"],
        input="x",
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 7, done.stderr
    assert "could not be written" in done.stderr
    assert tree(tmp_path) == ["data"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_profile(
    invite: str, tmp_path: Path, number: signal.Signals
) -> None:
    made = tmp_path / "data" / "default" / "account.toml"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # a Tor that never answers
        subprocess.Popen(
            [sys.executable, "-m", "xmpp_onion", "--data-dir", str(tmp_path / "data"),
             "--socks", f"127.0.0.1:{silent.getsockname()[1]}",
             "account", "add", "--invite", invite, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):  # fmt: skip
        while not made.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)

    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert tree(tmp_path) == ["data"]
