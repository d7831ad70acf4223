"""docs/reference/command-line.md and exit-codes.md say what the program does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from xmpp_onion import errors
from xmpp_onion.cli import main as cli

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
CODES = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
SECTIONS = dict(
    re.findall(r"^## `?([^`\n]+)`?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
)


def commands(
    command: click.Command, name: str = "xmpp-onion"
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its full name."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        assert found is not None
        yield from commands(found, f"{name} {inner}")


COMMANDS = dict(commands(cli._CLI))


def spelled(command: click.Command) -> set[str]:
    """The options that its own --help shows."""
    return {
        spelling
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden
        for spelling in param.opts
    }


def documented(section: str) -> set[str]:
    """The options in the first cells of a section's table."""
    cells = re.findall(r"^\| (`-[^|]*(?:\\\|[^|]*)*) \|", section, re.MULTILINE)
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", " ".join(cells)))


def test_every_command_has_its_section_and_no_other() -> None:
    assert [name for name in SECTIONS if name.startswith("xmpp-onion")] != []
    assert set(SECTIONS) - {"Options of every command"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_the_options_that_there_are(name: str) -> None:
    assert documented(SECTIONS[name]) == spelled(COMMANDS[name])


def test_the_options_of_every_command_are_those_of_the_program() -> None:
    assert documented(SECTIONS["Options of every command"]) == (
        spelled(cli._CLI) | {"-h", "--help"}
    )
    for option in cli._CLI.params:
        if isinstance(option, click.Option) and option.envvar:
            assert f"`{option.envvar}`" in PAGE


@pytest.mark.parametrize("name", COMMANDS)
def test_help_leads_to_the_options_of_every_command(name: str) -> None:
    assert "xmpp-onion --help" in str(COMMANDS[name].epilog)


@pytest.mark.parametrize(
    "line",
    [
        line.replace(", …}", "}")
        for page in (PAGE, CODES)
        for block in re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ],
)
def test_a_line_that_is_shown_is_one_of_ours(line: str) -> None:
    shown = json.loads(line)

    assert shown["v"] == 1
    assert shown["event"]


def test_every_exit_code_is_in_the_table_and_no_other() -> None:
    used = {getattr(errors, name).exit_code for name in errors.__all__}
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", CODES, re.MULTILINE)}

    assert table == used | {0, 130}
