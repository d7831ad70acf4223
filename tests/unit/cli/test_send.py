"""``xmpp-onion send`` without a server: what is queued, refused, and how it ends."""

import json
from typing import TYPE_CHECKING

import pytest

from xmpp_onion import Account
from xmpp_onion.agent.caller import END, socket_path
from xmpp_onion.agent.spool import Spool
from xmpp_onion.cli.reach import worse
from xmpp_onion.cli.send import _told_plan, told

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Answering, Command


def error(code: int, to: str) -> dict[str, object]:
    return {"v": 1, "event": "error", "code": code, "what": "x", "why": "y",
            "fix": "z", "to": to}  # fmt: skip


def test_what_is_queued_is_on_the_disk_and_the_code_is_0(
    command: "Command", account: Account, onion: str
) -> None:
    people = [f"a@{onion}", f"b@{onion}"]
    done = command("send", *people, "--queue", "--json", stdin="disk full\n")

    waiting = [each for _, each in Spool(account).all()]
    assert done.code == 0
    assert done.lines == [
        {"v": 1, "event": "sent", "id": each.id, "to": to, "encrypted": False,
         "devices": 0, "skipped": [], "text_only": 0, "state": "queued",
         "reason": None}
        for each, to in zip(waiting, people, strict=True)
    ]  # fmt: skip
    assert [each.text for each in waiting] == ["disk full", "disk full"]
    assert command("send", people[0], "--queue", "-m", "x").out == (
        f"queued: {people[0]}, encrypted and sent at the next login\n"
    )


@pytest.mark.usefixtures("account")
def test_nothing_is_queued_for_some_if_one_of_them_is_no_address(
    command: "Command", account: Account, onion: str
) -> None:
    done = command("send", f"a@{onion}", "b@example.org", "--queue", "-m", "x")

    assert done.code == 2
    assert Spool(account).names() == []


def test_each_recipient_has_a_line_and_the_worst_is_the_code(
    command: "Command", account: Account, onion: str, answering: "Answering"
) -> None:
    lines = [error(8, "a"), error(4, "b"), error(3, "c")]
    answering(socket_path(account.folder), *lines, END)
    done = command("send", *(f"{name}@{onion}" for name in "abc"), "-m", "x", "--json")

    assert (done.code, done.lines) == (4, lines)


@pytest.mark.parametrize(
    ("one", "other", "worst"), [(0, 8, 8), (8, 3, 3), (4, 5, 4), (7, 6, 7), (1, 7, 1)]
)
def test_a_bug_is_worse_than_what_goes_on_by_itself(
    one: int, other: int, worst: int
) -> None:
    assert worse(one, other) == worse(other, one) == worst


def test_a_dry_run_is_asked_for_and_shown(
    command: "Command", account: Account, onion: str, answering: "Answering"
) -> None:
    to = f"a@{onion}"
    device = {"jid": to, "device": 5, "fingerprint": "1a" * 32, "trust": "verified"}
    plan = {"v": 1, "event": "would-send", "to": to, "devices": [device],
            "left_out": [device | {"device": 6, "trust": "distrusted"}],
            "skipped": []}  # fmt: skip
    asked = answering(socket_path(account.folder), plan, END)
    done = command("send", to, "--dry-run", "--json")

    assert (done.code, done.lines) == (0, [plan])
    assert json.loads(asked[0]) == {"do": "dry-run", "to": [to], "timeout": None}
    assert _told_plan(plan) == (
        f"{to} would get it:\n  {to} 5 (verified)\n  {to} 6 (distrusted, LEFT OUT)"
    )
    assert _told_plan(plan | {"skipped": ["b"]}).endswith("\n  cannot read it: b")


def test_how_far_it_has_come_is_said() -> None:
    line = {"state": "acked", "to": "a", "devices": 2, "skipped": ["b"],
            "encrypted": True}  # fmt: skip
    assert told(line) == "acked: a, encrypted for 2 devices; left out: b"


@pytest.mark.usefixtures("account")
def test_a_bare_name_is_told_how_to_be_written(command: "Command") -> None:
    for words in (["send", "friends", "-m", "x"], ["room", "invite", "friends", "bob"]):
        done = command(*words)
        assert done.code == 2
        assert "it is a bare name" in done.err
        assert "a room name@muc.….onion" in done.err


@pytest.mark.parametrize(
    "words",
    [["--queue", "--file", "/etc/passwd"], ["--queue", "--correct", "x", "-m", "y"],
     ["--queue", "--mention", "a@b", "-m", "y"],
     ["--queue", "--agent", "/run/x", "-m", "y"]],
    ids=["file", "correct", "mention", "agent"],
)  # fmt: skip
def test_what_cannot_be_queued_is_a_usage_error(
    command: "Command", onion: str, words: list[str]
) -> None:
    assert command("send", f"a@{onion}", *words).code == 2
