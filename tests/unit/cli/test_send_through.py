"""``send --agent``: a text through another user's agent, and whom it is not told."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xmpp_onion.agent.caller import END
from xmpp_onion.transport import listen_local

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Answering, Command

SENT = {"v": 1, "event": "sent", "id": "1", "to": "a@x.onion", "encrypted": True,
        "devices": 1, "skipped": [], "text_only": 0, "state": "acked",
        "reason": None}  # fmt: skip
REFUSED = {"v": 1, "event": "error", "code": 6, "what": "x", "why": "y", "fix": "z"}


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("xmpp-onion-canary\n")
    return path


def test_the_text_goes_with_the_token_and_without_an_account(
    command: "Command",
    token: Path,
    tmp_path: Path,
    onion: str,
    answering: "Answering",
) -> None:
    asked = answering(tmp_path / "agent.sock", SENT, END)
    done = command(
        "send", f"ops@{onion}", "--json", stdin="disk full\n",
        XMPP_ONION_AGENT=str(tmp_path / "agent.sock"),
        XMPP_ONION_TOKEN_FILE=str(token),
    )  # fmt: skip

    assert (done.code, done.lines) == (0, [SENT])
    request = json.loads(asked[0])
    assert request["token"] == "xmpp-onion-canary"
    assert (request["to"], request["text"]) == ([f"ops@{onion}"], "disk full")


def test_a_token_that_is_refused_ends_with_6(
    command: "Command",
    token: Path,
    tmp_path: Path,
    onion: str,
    answering: "Answering",
) -> None:
    answering(tmp_path / "agent.sock", REFUSED, END)
    done = command("send", f"ops@{onion}", "-m", "x", "--token-file", str(token),
                   "--agent", str(tmp_path / "agent.sock"), "--json")  # fmt: skip

    assert (done.code, done.lines) == (6, [REFUSED])


def test_where_others_could_listen_nothing_is_said(
    command: "Command", token: Path, tmp_path: Path, onion: str
) -> None:
    def send() -> tuple[int, str]:
        done = command("send", f"ops@{onion}", "-m", "x", "--token-file", str(token),
                       "--agent", str(tmp_path / "agent.sock"), "--json")  # fmt: skip
        return done.code, str(done.lines[0]["why"])

    assert send() == (7, "No such file or directory")
    (tmp_path / "agent.sock").touch()
    assert send() == (7, "it is no socket")
    (tmp_path / "agent.sock").unlink()
    with listen_local(tmp_path / "agent.sock"):
        tmp_path.chmod(0o777)
        assert send() == (7, "others can put one of theirs in its place")
        tmp_path.chmod(0o755)
    assert send() == (3, "Connection refused")
    token.chmod(0o644)
    assert send()[0] == 7


@pytest.mark.parametrize(
    "more",
    [[], ["--file", "/etc/passwd"], ["--correct", "id"], ["--mention", "a@b"]],
    ids=["no token", "file", "correct", "mention"],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    command: "Command", tmp_path: Path, onion: str, more: list[str]
) -> None:
    done = command("send", f"ops@{onion}", "-m", "x", *more,
                   "--agent", str(tmp_path / "agent.sock"))  # fmt: skip

    assert done.code == 2
