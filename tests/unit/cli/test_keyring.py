"""``account keyring``, with a keyring that the person named."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account
from xmpp_onion.seal import Secret

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command, Done

PASSPHRASE = "correct horse battery staple"
# It outlives the process that asked it, as a keyring does.
BACKEND = """
import json
from pathlib import Path
from keyring.backend import KeyringBackend

PLACE = Path(__file__).with_name("kept.json")

class Remembering(KeyringBackend):
    priority = 1.0

    def get_password(self, service, username):
        return self._read().get(f"{service} {username}")

    def set_password(self, service, username, password):
        self._write(self._read() | {f"{service} {username}": password})

    def delete_password(self, service, username):
        kept = self._read()
        del kept[f"{service} {username}"]
        self._write(kept)

    def _read(self):
        return json.loads(PLACE.read_text()) if PLACE.exists() else {}

    def _write(self, kept):
        PLACE.write_text(json.dumps(kept))
"""


class Desktop:
    """A person whose keyring is there in each command."""

    def __init__(self, command: "Command", folder: Path) -> None:
        folder.mkdir()
        (folder / "remembering.py").write_text(BACKEND)
        self._command, self._folder = command, folder

    def run(self, *words: str, stdin: str = "") -> "Done":
        done = self._command(
            *words,
            stdin=stdin,
            PYTHONPATH=str(self._folder),
            PYTHON_KEYRING_BACKEND="remembering.Remembering",
        )
        assert PASSPHRASE not in done.out + done.err
        return done

    @property
    def kept(self) -> str:
        return (self._folder / "kept.json").read_text()


@pytest.fixture
def desktop(command: "Command", tmp_path: Path) -> Desktop:
    return Desktop(command, tmp_path / "desktop")


@pytest.fixture
def encrypted(account: Account) -> Account:
    """Bob, who is opened with a passphrase."""
    made = account.encrypted(Secret.passphrase(PASSPHRASE))
    made.save()
    return made


def store(desktop: Desktop, passphrase: str = PASSPHRASE) -> "Done":
    return desktop.run(
        "account", "keyring", "store", "--passphrase-file", "-", "--json",
        stdin=f"{passphrase}\n",
    )  # fmt: skip


@pytest.mark.usefixtures("encrypted")
def test_what_the_keyring_has_opens_the_account_until_it_is_forgotten(
    desktop: Desktop,
) -> None:
    assert store(desktop).lines == [
        {"v": 1, "event": "keyring", "profile": "default", "stored": True}
    ]
    assert desktop.run("trust", "automatic", "off").code == 0

    forgotten = desktop.run("account", "keyring", "forget", "--json")

    assert (forgotten.code, forgotten.lines[0]["stored"]) == (0, False)
    assert PASSPHRASE not in desktop.kept
    assert desktop.run("trust", "automatic", "on").code == 7


@pytest.mark.usefixtures("encrypted")
def test_only_what_opens_the_account_is_stored(desktop: Desktop) -> None:
    assert store(desktop, "wrong one").code == 7
    assert desktop.run("trust", "automatic", "on").code == 7


@pytest.mark.usefixtures("encrypted")
def test_another_passphrase_takes_the_place_of_the_stored_one(
    desktop: Desktop, tmp_path: Path
) -> None:
    store(desktop)
    path = tmp_path / "new"
    path.touch(mode=0o600)
    path.write_text("another passphrase\n")

    done = desktop.run("account", "passphrase", "--new-passphrase-file", str(path))

    assert done.code == 0, done
    assert "another passphrase" in desktop.kept
    assert PASSPHRASE not in desktop.kept
    assert desktop.run("trust", "automatic", "on").code == 0


@pytest.mark.usefixtures("encrypted")
def test_with_the_account_its_passphrase_goes(desktop: Desktop) -> None:
    store(desktop)

    assert desktop.run("account", "remove", "--yes").code == 0

    assert desktop.kept == "{}"


@pytest.mark.usefixtures("account")
def test_an_account_in_the_clear_has_nothing_to_store(desktop: Desktop) -> None:
    done = store(desktop)

    assert done.code == 7
    assert "not encrypted" in str(done.lines[0]["why"])


@pytest.mark.usefixtures("encrypted")
def test_without_a_good_keyring_nothing_is_stored(command: "Command") -> None:
    done = command(
        "account", "keyring", "store", "--passphrase-file", "-", "--json",
        stdin=f"{PASSPHRASE}\n",
        PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring",
    )  # fmt: skip

    assert done.code == 7
    assert "keeps nothing" in str(done.lines[0]["why"])
