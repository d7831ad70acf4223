import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from xmpp_onion import __version__


def fake_tor(folder: Path, script: str) -> None:
    folder.mkdir()
    program = folder / "tor"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


def test_the_versions_are_those_that_are_installed(
    command: Command, tmp_path: Path
) -> None:
    fake_tor(tmp_path / "bin", "echo 'Tor version 0.4.9.5-rc.'")

    done = command("version", "--json", PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")

    (line,) = done.lines
    assert done.code == 0
    assert (line["v"], line["event"]) == (1, "version")
    assert line["version"] == __version__
    assert line["python"] == ".".join(map(str, sys.version_info[:3]))
    assert isinstance(line["libraries"], dict)
    assert line["libraries"]["slixmpp"] == version("slixmpp")
    assert line["libraries"]["omemo"] == version("omemo")
    assert line["tor"] == {
        "path": str(tmp_path / "bin" / "tor"),
        "version": "0.4.9.5-rc",
    }


@pytest.mark.parametrize("script", ["exit 1", "echo what?", "printf '\\377\\n'"])
def test_a_tor_that_says_nothing_of_use_is_told_without_a_version(
    command: Command, tmp_path: Path, script: str
) -> None:
    fake_tor(tmp_path / "bin", script)

    done = command("version", "--json", PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")

    assert done.code == 0
    assert done.lines[0]["tor"] == {
        "path": str(tmp_path / "bin" / "tor"),
        "version": None,
    }


def test_a_person_reads_one_of_them_a_line(command: Command) -> None:
    shown = command("version").out.splitlines()
    known = json.loads(command("version", "--json").out)

    assert shown[0] == f"xmpp-onion {known['version']}"
    assert shown[1] == f"Python {known['python']}"
    assert f"slixmpp {known['libraries']['slixmpp']}" in shown
