"""The command line where a standard stream is closed, or cannot be written to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# What takes a command line in a new process, with streams as a shell makes them.
SHELL = 'exec "$0" -m xmpp_onion "$@"'


def run(streams: str, *arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f"{SHELL} {streams}", sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=300,
        env={"XMPP_ONION_DATA_DIR": str(data), "HOME": str(data), "PATH": "/usr/bin"},
    )


ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"


def test_a_closed_stdin_is_an_empty_one(tmp_path: Path) -> None:
    done = run("<&-", "send", f"bob@{ONION}", data=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "the text is empty" in done.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_what_nobody_can_read_makes_no_error(tmp_path: Path, streams: str) -> None:
    done = run(streams, "version", data=tmp_path)

    assert done.returncode == 0
    assert done.stderr == ""


def test_an_error_has_its_code_where_stderr_is_closed(tmp_path: Path) -> None:
    done = run("2>&-", "send", f"bob@{ONION}", "-m", "hi", data=tmp_path)

    assert (done.returncode, done.stdout) == (7, "")


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", "<&-"])
def test_no_other_file_gets_the_number_of_a_closed_stream(streams: str) -> None:
    code = (
        "import os, sys\n"
        "from xmpp_onion.cli.streams import open_streams\n"
        "open_streams()\n"
        "where = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        "assert where[0] == '/dev/null' and os.open('/', os.O_RDONLY) > 2\n"
        "assert sys.stdin.read() == '' and sys.stdout and sys.stderr\n"
    )
    shell = f'exec "$0" -c "$1" {streams}'

    done = subprocess.run(["/bin/sh", "-c", shell, sys.executable, code], check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_output_that_cannot_be_written_ends_with_7(
    tmp_path: Path, options: list[str]
) -> None:
    done = run(">/dev/full", "version", *options, data=tmp_path)

    assert done.returncode == 7
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr
    assert ("No space left" in done.stderr) == (not options)


def test_a_reader_that_has_enough_is_no_reason_to_fail(tmp_path: Path) -> None:
    shell = '"$0" -m xmpp_onion version --json | head -c 0; echo ended'

    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable],
        capture_output=True,
        text=True,
        check=True,
        env={"XMPP_ONION_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )

    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_an_error_is_a_line_of_json_as_ever(tmp_path: Path) -> None:
    done = run("<&-", "send", f"bob@{ONION}", "-m", "hi", "--json", data=tmp_path)

    assert json.loads(done.stdout)["code"] == done.returncode == 7
