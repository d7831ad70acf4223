import asyncio
import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from xmpp_onion.cli import main as cli
from xmpp_onion.cli.output import Output
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreError

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"

# What --help must not wait for: the OMEMO stack alone takes a second to import.
HEAVY = {
    "aiohttp",
    "aiosqlite",
    "asyncio",
    "cryptography",
    "omemo",
    "prompt_toolkit",
    "pydantic",
    "rich",
    "segno",
    "slixmpp",
    "slixmpp_omemo",
    "sqlite3",
    "stem",
}


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xmpp_onion", *arguments],
        capture_output=True,
        text=True,
        check=False,
        input=more.get("input", ""),
        timeout=300,
    )


def test_help_imports_no_heavy_library() -> None:
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "xmpp_onion", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    imported = {line.rsplit("|")[-1].strip() for line in listed.stderr.splitlines()}
    assert "xmpp_onion.cli.main" in imported or "click" in imported
    assert {name.partition(".")[0] for name in imported} & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["version"],
        ["config", "path"],
        ["config", "show"],
        ["config", "check"],
    ],
    ids=" ".join,
)
def test_what_only_tells_loads_no_heavy_library(
    arguments: list[str], tmp_path: Path
) -> None:
    # At the end of the process, so that what is loaded late is seen, too.
    listing = (
        "import atexit, sys;"
        "atexit.register(lambda: print('loaded', *sys.modules, file=sys.stderr));"
        "from xmpp_onion.cli.main import main;"
        f"sys.argv = ['xmpp-onion', *{arguments!r}]; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", listing],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )

    loaded = {name.partition(".")[0] for name in done.stderr.split("loaded")[1].split()}
    assert "click" in loaded
    assert loaded & HEAVY == set()
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_command() -> None:
    shown = run("--help").stdout

    for name in ("demo", "account", "send", "listen", "contact", "trust", "devices",
                 "bot", "server", "doctor"):  # fmt: skip
        assert f"\n  {name}" in shown


@pytest.mark.parametrize("name", ["", *cli._COMMANDS])
def test_no_line_of_a_list_of_commands_is_cut_short(name: str) -> None:
    usage, _, listed = run(*name.split(), "--help").stdout.partition("Commands:")

    assert usage.startswith("Usage: ")
    assert "..." not in listed


@pytest.mark.parametrize("words", [["sned"], ["server", "upp"]])
def test_a_command_with_a_typo_is_told_what_is_like_it(words: list[str]) -> None:
    shown = run(*words)

    assert shown.returncode == 2
    assert "Did you mean" in shown.stderr


@pytest.mark.parametrize("name", cli._COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    shown = run(name, "--help")

    assert shown.returncode == 0, shown.stderr
    assert "Usage: xmpp-onion" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["send"],
        ["send", "bob@example.org", "-m", "x"],
        ["send", "bob@abc.onion", "-m", "x"],
        ["send", "bob@example.org"],
        ["send", f"bob@{ONION}", "--file", "/no/such/file"],
        ["listen", "nobody"],
        ["account", "add"],
        ["account", "add", "--invite", "xmpp:example.org?register;preauth=tokentoken"],
        ["contact", "add", "bob@example.org"],
        ["trust", "verify", "bob@example.org", "ab"],
        ["bot", "run", "no-such-file.py"],
        ["--socks", "example.org:9050", "doctor"],
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_with_2_and_sends_nothing(
    arguments: list[str], tmp_path: Path
) -> None:
    done = run("--data-dir", str(tmp_path), *arguments)

    assert done.returncode == 2, done.stderr
    assert done.stderr != ""
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in done.stderr


def test_a_usage_error_is_a_line_of_json_where_that_was_asked_for() -> None:
    done = run("send", "bob@example.org", "-m", "x", "--json")

    line = json.loads(done.stdout)
    assert done.returncode == 2
    assert (line["v"], line["event"], line["code"]) == (1, "error", 2)
    assert line["what"]


@pytest.mark.parametrize("where", ["before", "after"])
def test_global_options_work_before_and_after_the_command(
    where: str, tmp_path: Path
) -> None:
    options = ["--json", "--profile", "nobody", "--data-dir", str(tmp_path)]
    command = ["devices", "list"]

    done = run(*(options + command if where == "before" else command + options))

    line = json.loads(done.stdout)
    assert done.returncode == 7
    assert "nobody" in line["what"]


def test_an_option_after_the_command_wins(tmp_path: Path) -> None:
    done = run("--profile", "one", "devices", "list", "--profile", "two",
               "--data-dir", str(tmp_path), "--json")  # fmt: skip

    assert "'two'" in json.loads(done.stdout)["what"]


def test_no_account_exits_with_7_and_says_how_to_make_one(tmp_path: Path) -> None:
    onion = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"

    done = run("--data-dir", str(tmp_path), "send", f"bob@{onion}", input="disk full")

    assert done.returncode == 7
    assert "account add" in done.stderr


def test_there_is_no_option_that_takes_a_password() -> None:
    assert "--password " not in run("account", "add", "--help").stdout


def test_what_was_typed_counts_more_than_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMPP_ONION_PROFILE", "environment")

    typed = run("--profile", "typed", "devices", "list", "--data-dir", str(tmp_path))
    silent = run("devices", "list", "--data-dir", str(tmp_path))

    assert "'typed'" in typed.stderr
    assert "'environment'" in silent.stderr


def test_a_command_can_be_looked_up_twice() -> None:
    context = click.Context(cli._CLI)

    first = cli._CLI.get_command(context, "send")
    count = len(first.params) if first else 0
    again = cli._CLI.get_command(context, "send")

    assert again is first
    assert again is not None
    assert len(again.params) == count


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.exceptions.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130),
        (asyncio.CancelledError(), 130),
        (StoreError("full"), 7),
        (ExceptionGroup("g", [ExceptionGroup("h", [StoreError("full")])]), 7),
        (OSError(errno.ENOSPC, "No space left on device"), 7),
        (ValueError("swordfish"), 1),
        (click.UsageError("what?"), 2),
        (SystemExit(5), 5),
    ],
    ids=repr,
)
def test_however_a_command_ends_there_is_one_error_and_its_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._end(error, Output(as_json=True)) == code

    shown = capsys.readouterr()
    assert shown.err == ""
    assert "swordfish" not in shown.out
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line["code"] for line in lines] == ([code] if code not in {5, 130} else [])


@pytest.mark.parametrize("as_json", ["--json", "--quiet"])
def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path, as_json: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "xmpp_onion", "server", "init", str(tmp_path / "s"),
         as_json],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before it could write

        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_an_interrupt_while_it_is_loaded_ends_it_without_a_word() -> None:
    code = (
        "import builtins, os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "load = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'xmpp_onion.cli.main':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return load(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "from xmpp_onion.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    # A shell calls that 130.
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_an_error_that_python_makes_of_an_interrupt_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    def interrupted() -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    assert cli.run(interrupted, [], Settings()) == 130
    assert capsys.readouterr().err == ""


def test_an_error_that_is_its_own_cause_ends_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    def failing() -> None:
        first, second = StoreError("one"), StoreError("two")
        second.__cause__ = first
        first.__cause__ = second
        raise second

    assert cli.run(failing, [], Settings()) == 7
    assert "two" in capsys.readouterr().err
