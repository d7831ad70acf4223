"""``server backup`` and ``server restore``, of a server that does not run."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


def test_a_server_goes_into_a_file_and_out_again(
    command: "Command", tmp_path: Path
) -> None:
    folder, file, there = (str(tmp_path / name) for name in ("a", "file", "b"))
    made = command("server", "init", folder, "--json")
    encrypt = ("--passphrase-file", "-", "--json")

    saved = command(*encrypt, "server", "backup", folder, file, stdin="secret\n")
    wrong = command(*encrypt, "server", "restore", file, there, stdin="other\n")
    restored = command(*encrypt, "server", "restore", file, there, stdin="secret\n")

    onion = made.lines[0]["onion"]
    assert [saved.code, wrong.code, restored.code] == [0, 7, 0]
    assert (saved.lines[0]["event"], saved.lines[0]["onion"]) == ("backup", onion)
    assert restored.lines[0] == {
        "v": 1, "event": "restored", "onion": onion, "folder": there
    }  # fmt: skip
    assert "the old one is stopped" in restored.err


def test_without_a_passphrase_no_backup_is_written(
    command: "Command", tmp_path: Path
) -> None:
    command("server", "init", str(tmp_path / "a"))

    done = command("server", "backup", str(tmp_path / "a"), str(tmp_path / "file"))

    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "file").exists()
