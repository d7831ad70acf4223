from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account
from xmpp_onion.address import OnionAddress
from xmpp_onion.server import initialise
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door
from xmpp_onion.transport import Admission, make_client_key

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

SIDE = OnionAddress.from_public_key(b"\x06" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initialise(tmp_path / "server")
    place = Folder(tmp_path / "server", find_unprivileged_user())
    place.write_options(replace(place.read_options(), door=Door.BOTH))
    return tmp_path / "server"


def test_a_key_is_given_listed_and_revoked(command: "Command", folder: Path) -> None:
    door = "--json", "server", "door"
    nobody = command(*door, "list", str(folder))
    given = command(*door, "give", str(folder), "alice")
    listed = command(*door, "list", str(folder))
    revoked = command(*door, "revoke", str(folder), "alice")
    again = command(*door, "revoke", str(folder), "alice")

    assert nobody.lines == []
    (line,) = given.lines
    key = str(line["key"])
    assert (line["event"], line["name"]) == ("door-key", "alice")
    assert Admission.parse(key).torrc_line == key
    assert listed.lines[0]["name"] == "alice"
    assert revoked.lines[0]["event"] == "revoked"
    assert (again.code, bool(again.lines[0]["fix"])) == (7, True)
    for other in (listed, revoked, again):
        assert key[-52:] not in other.out + other.err


def test_without_a_private_door_it_says_how_to_get_one(
    command: "Command", tmp_path: Path
) -> None:
    initialise(tmp_path / "server")

    done = command("--json", "server", "door", "list", str(tmp_path / "server"))

    assert "--door both" in str(done.lines[0]["fix"])


@pytest.mark.parametrize("source", ["stdin", "file"])
def test_an_account_goes_by_the_door_that_it_is_given(
    source: str, command: "Command", account: Account, tmp_path: Path
) -> None:
    admission = Admission(SIDE, make_client_key().private)
    path = tmp_path / "bob.auth_private"
    path.touch(mode=0o600)
    path.write_text(f"{admission.torrc_line}\n")

    done = command(
        "--json", "account", "door", "-" if source == "stdin" else str(path),
        stdin=f"{admission.torrc_line}\n",
    )  # fmt: skip

    assert done.lines == [{"v": 1, "event": "door", "jid": account.jid}]
    loaded = Account.load("default", tmp_path / "data")
    assert loaded == replace(account, admission=admission)


@pytest.mark.parametrize("text", ["", f"{SIDE}:descriptor:x25519:AAAA"])
def test_what_is_no_key_for_a_door_is_told(
    text: str, command: "Command", account: Account
) -> None:
    done = command("--json", "account", "door", "-", stdin=text)

    assert "server door give" in str(done.lines[0]["fix"])
    assert "AAAA" not in done.out + done.err
    assert Account.load("default", account.folder.parent) == account
