"""``xmpp-onion export`` and ``import``, as lines and codes."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command
    from xmpp_onion import Account


def test_an_account_goes_out_and_comes_in(
    command: "Command", used: "Account", tmp_path: Path
) -> None:
    file = str(tmp_path / "bob.account")
    out = command("export", file, "--new-passphrase-file", "-", "--json",
                  stdin="correct horse\n")  # fmt: skip
    back = command("--profile", "new", "import", file, "--passphrase-file", "-",
                   "--json", stdin="correct horse\n")  # fmt: skip
    wrong = command("--profile", "other", "import", file, "--passphrase-file", "-",
                    "--json", stdin="wrong\n")  # fmt: skip
    again = command("--profile", "new", "import", file, "--passphrase-file", "-",
                    "--json", stdin="correct horse\n")  # fmt: skip
    listed = command("account", "list", "--json")

    assert out.lines == [
        {"v": 1, "event": "exported", "jid": used.jid, "file": file,
         "fingerprint": "1a" * 32, "device": 12345, "rows": 0}
    ]  # fmt: skip
    assert back.lines == [
        {"v": 1, "event": "imported", "profile": "new", "jid": used.jid,
         "fingerprint": "1a" * 32, "former_device": 12345, "rows": 0,
         "encrypted": False}
    ]  # fmt: skip
    assert "xmpp-onion --profile new devices remove 12345" in back.err
    assert [done.code for done in (out, back, wrong, again)] == [0, 0, 7, 7]
    assert {line["profile"] for line in listed.lines} == {"default", "new"}


@pytest.mark.usefixtures("used")
def test_nobody_to_ask_for_a_passphrase_is_a_usage_error(
    command: "Command", tmp_path: Path
) -> None:
    done = command("export", str(tmp_path / "file"))

    assert done.code == 2
    assert "--new-passphrase-file F" in done.err  # the other one opens what is here
    assert not (tmp_path / "file").exists()


@pytest.mark.usefixtures("account")
def test_an_account_without_an_identity_is_not_exported(
    command: "Command", tmp_path: Path
) -> None:
    done = command("export", str(tmp_path / "file"), "--new-passphrase-file", "-",
                   "--json", stdin="correct horse\n")  # fmt: skip

    assert done.code == 7
    assert "never logged in" in str(done.lines[0]["why"])
