"""Help comes from the catalogue; tests/test_docs.py compares it with the commands."""

import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.unit.cli.test_main import HEAVY
from tests.unit.cli.test_reference import commands
from xmpp_onion.cli import main as cli
from xmpp_onion.cli.catalogue import (
    NotHelpError,
    describe,
    make_outline,
    read_catalogue,
)

HINT = "write it anew: python -m xmpp_onion.cli.catalogue"


def every(command: click.Command, name: str) -> dict[str, click.Command]:
    """Every command and group, by its whole name."""
    found = {name: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            made = command.get_command(context, inner)
            assert made is not None
            found |= every(made, f"{name} {inner}")
    return found


REAL = every(cli.program(), "xmpp-onion")
OUTLINE = every(cli._outline(), "xmpp-onion")


def shown(command: click.Command, name: str) -> str:
    context = click.Context(
        command, info_name=name, terminal_width=80, help_option_names=["-h", "--help"]
    )
    command.help = inspect.cleandoc(command.help or "")  # as Python 3.13 does
    return command.get_help(context)


def loaded_by(*arguments: str, **environ: str) -> tuple[str, set[str]]:
    """Return what a command line prints, and the libraries that are loaded then."""
    listing = (
        "import atexit, sys;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "from xmpp_onion.cli.main import main;"
        f"sys.argv = ['xmpp-onion', *{list(arguments)!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", listing],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", **environ},
    )
    return done.stdout, {name.partition(".")[0] for name in done.stderr.split()}


def test_the_outline_has_every_command_and_no_other() -> None:
    assert list(OUTLINE) == list(REAL)


@pytest.mark.parametrize("name", [name for name in REAL if " " in name])
def test_help_from_the_outline_is_that_of_the_command(name: str) -> None:
    assert shown(OUTLINE[name], name) == shown(REAL[name], name), HINT


@pytest.mark.parametrize("line", ["trust --help", "server invite -h", "account add -h"])
def test_the_help_of_a_command_loads_no_heavy_library(
    line: str, tmp_path: Path
) -> None:
    out, loaded = loaded_by(*line.split(), HOME=str(tmp_path))

    assert out.startswith(f"Usage: xmpp-onion {' '.join(line.split()[:-1])}")
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "-m", "--help"],
        ["send", "nobody@nowhere", "-m", "--help"],
        ["send", "--nonsense", "--help"],
        ["nonsense", "--help"],
    ],
    ids=" ".join,
)
def test_what_only_looks_like_a_question_for_help_is_left_to_the_command(
    arguments: list[str],
) -> None:
    assert not cli._has_helped(arguments)


def test_an_outline_does_nothing() -> None:
    for name, command in commands(cli._outline()):
        assert command.callback is not None
        if name != "xmpp-onion":
            context = click.Context(command, obj=cli.Settings())
            with context, pytest.raises(NotHelpError):
                command.callback()


def test_a_changed_text_is_noticed() -> None:
    entry = read_catalogue()
    made = make_outline("xmpp-onion", {**entry, "help": "Else"}, lambda _command: None)

    assert describe(made) != describe(cli.program())
