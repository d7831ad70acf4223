"""``trust verify JID`` at a terminal, beside a stand-in of who holds the account."""

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xmpp_onion import Account
from xmpp_onion.agent.caller import END
from xmpp_onion.transport import listen_local

DIGITS = "0123456789abcdef" * 4


def device(jid: str, trust: str) -> dict[str, object]:
    return {
        "v": 1, "event": "device", "jid": jid, "own": False, "device": 7,
        "fingerprint": DIGITS, "trust": trust, "active": True, "label": None,
    }  # fmt: skip


class Holder(threading.Thread):
    """Answers a request after the other."""

    def __init__(self, path: Path, *answers: dict[str, object]) -> None:
        super().__init__(daemon=True)
        self.asked: list[dict[str, object]] = []
        self._answers = answers
        self._socket = listen_local(path)
        self._socket.settimeout(60)
        self.start()

    def run(self) -> None:
        with self._socket:
            for answer in self._answers:
                with self._socket.accept()[0] as peer, peer.makefile("rw") as file:
                    self.asked.append(json.loads(file.readline()))
                    file.writelines(json.dumps(one) + "\n" for one in (answer, END))


def verify(jid: str, folder: Path, typed: bytes) -> tuple[int, str]:
    """Run it with a terminal as stdin, and type when it asks."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "xmpp_onion", "trust", "verify", jid],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "XMPP_ONION_DATA_DIR": str(folder)},
        start_new_session=True,
    ) as process:
        os.close(slave)
        assert process.stdout is not None
        shown = b""
        while b"read out to you: " not in shown:
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, shown
            shown += piece
        os.write(master, typed)
        shown += process.stdout.read()
        code = process.wait(300)
    os.close(master)
    return code, shown.decode()


@pytest.fixture
def socket(account: Account) -> Path:
    return account.folder / "agent.sock"


def test_the_device_is_believed_that_ends_as_it_was_typed(
    account: Account, socket: Path, onion: str
) -> None:
    jid = f"alice@{onion}"
    holder = Holder(socket, device(jid, "undecided"), device(jid, "verified"))

    code, shown = verify(jid, account.folder.parent, b"01234567 89ABCDEF\n")

    assert (code, "(verified)" in shown) == (0, True)
    assert "89abcdef ???????? ????????  undecided" in shown
    assert [each["do"] for each in holder.asked] == ["devices", "verify"]
    assert holder.asked[1]["fingerprint"] == DIGITS


def test_what_no_device_ends_in_changes_nothing(
    account: Account, socket: Path, onion: str
) -> None:
    jid = f"alice@{onion}"
    holder = Holder(socket, device(jid, "undecided"))

    code, shown = verify(jid, account.folder.parent, b"01234567 89abcdee\n")

    assert (code, "nothing was changed" in shown) == (4, True)
    assert [each["do"] for each in holder.asked] == ["devices"]
