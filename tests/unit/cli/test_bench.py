"""``bench``: what it refuses before anything is started."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command


@pytest.mark.parametrize(
    "rtts", ["", "fast", "0,,1", "-1", "nan", "inf", "6", "0,1,2,3,4,5,0.1,0.2,0.3"]
)
def test_what_is_no_list_of_delays_is_refused(command: "Command", rtts: str) -> None:
    done = command("bench", "--rtt", rtts)

    assert done.code == 2
    assert "is no list of seconds such as 0,0.5,1" in done.err.replace("\n", " ")


@pytest.mark.parametrize("rate", ["0", "-1", "fast"])
def test_what_is_no_rate_is_refused(command: "Command", rate: str) -> None:
    assert command("bench", "--rate", rate).code == 2


@pytest.mark.parametrize("loss", ["-1", "51", "some"])
def test_what_is_no_loss_is_refused(command: "Command", loss: str) -> None:
    assert command("bench", "--loss", loss).code == 2


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    done = command("bench", "--json", "--out", str(tmp_path / "file" / "below"))

    assert done.code == 7
    [line] = done.lines
    assert line["what"] == f"nothing can be written to {tmp_path}/file/below"
    assert "--out" in str(line["fix"])


def test_without_a_prosody_it_says_what_to_install(command: "Command") -> None:
    done = command("bench", "--json", PATH="/nowhere")

    assert done.code == 7
    assert "apt-get install prosody" in str(done.lines[0]["fix"])


def test_without_a_tor_it_says_what_to_install(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "prosody").touch(mode=0o755)

    done = command("bench", "--json", PATH=str(tmp_path))

    assert done.code == 3
    assert "the program tor is not installed" in str(done.lines[0]["what"])


def test_a_client_that_is_not_installed_cannot_be_measured(
    command: "Command", tmp_path: Path
) -> None:
    (tmp_path / "prosody").touch(mode=0o755)

    done = command("bench", "--json", "--only", "profanity", PATH=str(tmp_path))

    assert done.code == 7
    [line] = done.lines
    assert line["what"] == "profanity cannot be measured"
    assert "apt-get install profanity" in str(line["fix"])
