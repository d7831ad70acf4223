"""Completion, by a bash that really asks, and of what is in an account."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from tests.unit.cli.test_catalogue import loaded_by
from tests.unit.cli.test_main import HEAVY
from xmpp_onion import Account
from xmpp_onion.cli.completion import VARIABLE, source
from xmpp_onion.store import ContactRow, Contacts, Database, RoomRow, Rooms

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
CAROL = f"carol@{ONION}"
CARL = f"carl@{ONION}"
FRIENDS = f"friends@muc.{ONION}"
BREAKS = " \t\n\"'@><=;|&(:"  # bash's own, in a terminal


@pytest.fixture
async def known(account: Account) -> Account:
    """An account that knows two people and a room, and somebody dangerous."""
    path = account.folder / "store.sqlite3"
    async with Database.open(path) as database, database.transaction():
        await Contacts(database).put(
            ContactRow(jid, "both", ask=False)
            for jid in (CAROL, CARL, f"$(reboot)@{ONION}", f"c\x1b[2J@{ONION}")
        )
        await Rooms(database).put(RoomRow(FRIENDS, "bob"))
    return account


def asked(line: str, account: Account, *, breaks: str = BREAKS) -> list[str]:
    """Return what a bash offers for a line, with the cursor at its end."""
    program = f"exec {shlex.quote(sys.executable)} -m xmpp_onion"
    script = (
        f'xmpp-onion() {{ ({program} "$@"); }}\n'
        f'env() {{ while [[ $1 == *=* ]]; do export "$1"; shift; done; "$@"; }}\n'
        f"{source('bash')}\n"
        f"COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}\n"
        f"COMP_WORDBREAKS={shlex.quote(breaks)}\n"
        "_xmpp_onion_completion xmpp-onion\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(account.folder.parent.parent),
            "XMPP_ONION_DATA_DIR": str(account.folder.parent),
        },
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("xmpp-onion ver", ["version"]),
        ("xmpp-onion trust ve", ["verify"]),
        ("xmpp-onion --profile default trust ve", ["verify"]),
        ("xmpp-onion completion ", ["bash", "zsh", "fish"]),
        ("xmpp-onion send --wa", ["--wait"]),
        ("xmpp-onion send --wait re", ["receipt"]),
        ("xmpp-onion --profile ", ["default"]),
        ("xmpp-onion listen --profile d", ["default"]),
        ("xmpp-onion contact remove car", [CARL, CAROL]),
        ("xmpp-onion send ", [CARL, CAROL, FRIENDS]),
        (f"xmpp-onion send {CARL} f", [FRIENDS]),
        ("xmpp-onion send --mention caro", [CAROL]),
        ("xmpp-onion room leave ", [FRIENDS]),
        ("xmpp-onion trust verify caro", [CAROL]),
        (f"xmpp-onion trust verify {CAROL} ", []),
        ("xmpp-onion account add car", []),
    ],
)
async def test_bash_offers_what_could_be_typed_next(
    line: str, offered: list[str], known: Account
) -> None:
    assert asked(line, known) == offered


async def test_bash_keeps_what_it_takes_for_a_word_of_its_own(known: Account) -> None:
    # It has broken the line at the @, and puts what we say behind that.
    assert asked("xmpp-onion send carol@aea", known) == [ONION]
    assert asked("xmpp-onion send carol@aea", known, breaks=" ") == [CAROL]
    assert asked("xmpp-onion send --wait=re", known) == ["receipt"]


async def test_what_a_shell_could_take_for_more_than_a_word_is_not_offered(
    known: Account,
) -> None:
    assert asked("xmpp-onion contact remove ", known) == [CARL, CAROL]


def test_completion_loads_no_heavy_library_and_writes_nothing(
    account: Account, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    out, loaded = loaded_by(
        HOME=str(tmp_path),
        COMP_LINE="xmpp-onion send --mention ",
        XMPP_ONION_DATA_DIR=str(account.folder.parent),
        **{VARIABLE: "bash_complete"},
    )

    assert out.strip() == ""
    assert loaded & (HEAVY - {"sqlite3"}) == set()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_broken_file_with_settings_offers_nothing_and_says_nothing(
    account: Account, tmp_path: Path
) -> None:
    (tmp_path / ".config" / "xmpp-onion").mkdir(parents=True)
    (tmp_path / ".config" / "xmpp-onion" / "config.toml").write_text("nonsense")

    assert asked("xmpp-onion send ", account) == []


def test_a_shell_that_is_not_known_is_refused(command: Command) -> None:
    assert command("completion", "tcsh").code == 2
    assert command(**{VARIABLE: "tcsh_complete"}).code == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(command: Command, shell: str) -> None:
    done = command("completion", shell)
    assert done.out == source(shell)
    assert VARIABLE in done.out
    (line,) = command("completion", shell, "--json").lines
    assert line["text"] == done.out
