"""``server rotate``, of a server that does not run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_a_server_gets_another_name(command: "Command", tmp_path: Path) -> None:
    folder = str(tmp_path / "a")
    made = command("server", "init", folder, "--json")

    done = command("server", "rotate", folder, "--keep-old", "30d", "--json")
    again = command("server", "init", folder, "--json")

    assert done.code == 0
    [line] = done.lines
    assert (line["v"], line["event"], line["old"]) == (
        1,
        "rotated",
        made.lines[0]["onion"],
    )
    assert line["new"] == again.lines[0]["onion"] != line["old"]
    until = datetime.fromisoformat(str(line["until"]))
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=31)
    assert "tells its people where you are" in done.err


def test_an_old_name_may_be_shut_at_once(command: "Command", tmp_path: Path) -> None:
    folder = str(tmp_path / "a")
    command("server", "init", folder)

    done = command("server", "rotate", folder, "--no-redirect", "--json")

    assert done.lines[0]["until"] is None
    assert "over another channel" in done.err


def test_where_there_is_no_server_nothing_is_made(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir(mode=0o700)

    done = command("server", "rotate", str(tmp_path / "a"), "--json")

    assert (done.code, done.lines[0]["event"]) == (7, "error")
    assert not (tmp_path / "a" / "onion.key").exists()
