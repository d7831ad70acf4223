"""All commands as data, so that help and completion load none of them.

What a command does takes libraries that are slow to import; what it is called does
not. ``catalogue.json`` has the names, options and texts of all commands. After a
change of any, write it anew::

    python -m xmpp_onion.cli.catalogue

A test compares it with the commands.
"""

import inspect
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "CATALOGUE",
    "CommandEntry",
    "NotHelpError",
    "ParamEntry",
    "Take",
    "describe",
    "make_outline",
    "read_catalogue",
]

CATALOGUE: Final = Path(__file__).with_name("catalogue.json")
"""What was written."""

Take: TypeAlias = Callable[[click.Command], None]
"""Gives a command the options that all have."""


class ParamEntry(TypedDict):
    """An option or argument.

    Attributes:
        name: Its name in Python.
        spellings: How it is typed; none for an argument.
        metavar: What stands for its value in the line of usage.
        shown: Its two cells in the help; none for an argument.
        flag: It takes no value.
        multiple: It may be given often.
        nargs: How many values; -1 for any number.
        choices: All values, if they are few.
        path: Its value is a file or folder.
    """

    name: str
    spellings: list[str]
    metavar: str
    shown: list[str]
    flag: bool
    multiple: bool
    nargs: int
    choices: list[str]
    path: bool


class CommandEntry(TypedDict):
    """A command or group.

    Attributes:
        help: Its text.
        params: What it takes, without what all take.
        commands: Those below it, in their order; None if it is no group.
    """

    help: str
    params: list[ParamEntry]
    commands: "dict[str, CommandEntry] | None"


class NotHelpError(Exception):
    """What was typed asks for more than help."""


# --- from the commands --------------------------------------------------------------


def describe(command: click.Command) -> CommandEntry:
    """Return what there is to say of a command and those below it."""
    context = click.Context(command)
    inner = None
    if isinstance(command, click.Group):
        inner = {
            name: describe(found)
            for name in command.list_commands(context)
            if (found := command.get_command(context, name)) is not None
        }
    return CommandEntry(
        help=inspect.cleandoc(command.help or ""),
        params=[
            _describe_param(context, param)
            for param in command.params
            if not (isinstance(param, click.Option) and param.hidden)
        ],
        commands=inner,
    )


def _describe_param(context: click.Context, param: click.Parameter) -> ParamEntry:
    is_option = isinstance(param, click.Option)
    is_path = isinstance(param.type, click.Path | click.File)
    return ParamEntry(
        name=param.name or "",
        spellings=[*param.opts, *param.secondary_opts] if is_option else [],
        metavar=param.make_metavar(context),
        shown=list(param.get_help_record(context) or ()),
        flag=is_option and bool(param.is_flag),  # type: ignore[attr-defined] # of Option
        multiple=param.multiple,
        nargs=param.nargs,
        choices=(
            [str(each) for each in param.type.choices]
            if isinstance(param.type, click.Choice)
            else []
        ),
        # Files are typed as a text, too, where `-` is standard input.
        path=is_path or (param.metavar or "").strip("[]") in {"F", "FILE", "DIR"},
    )


# --- back to commands that do nothing -----------------------------------------------


def read_catalogue() -> CommandEntry:
    """Return what was written."""
    entry: CommandEntry = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return entry


def make_outline(name: str, entry: CommandEntry, take: Take) -> click.Command:
    """Return a command that shows the help of the real one, and does nothing.

    Args:
        name: What it is called.
        entry: What is said of it.
        take: Called with each command below, for the options that all have.
    """
    params = [_make_param(each) for each in entry["params"]]
    if entry["commands"] is None:
        return click.Command(name, params=params, help=entry["help"], callback=_refuse)
    return _Outline(name, entry["commands"], take, params=params, help=entry["help"])


def _refuse(**_values: object) -> None:
    raise NotHelpError


class _Outline(click.Group):
    """A group whose commands are made when they are asked for."""

    def __init__(
        self,
        name: str,
        entries: dict[str, CommandEntry],
        take: Take,
        *,
        params: list[click.Parameter],
        help: str,  # noqa: A002 - click's name
    ) -> None:
        super().__init__(name, params=params, help=help)
        self._entries = entries
        self._take = take

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in self._entries:
            return None
        made = make_outline(cmd_name, self._entries[cmd_name], self._take)
        self._take(made)
        return made


class _Option(click.Option):
    """An option that is shown in the words of the real one."""

    shown: tuple[str, str] | None = None

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:  # noqa: ARG002 - click's signature
        return self.shown

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> "list[CompletionItem[str]]":
        return _complete(self, ctx, incomplete)


class _Argument(click.Argument):
    """An argument that knows what it could be."""

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> "list[CompletionItem[str]]":
        return _complete(self, ctx, incomplete)


def _complete(
    param: click.Parameter, ctx: click.Context, incomplete: str
) -> "list[CompletionItem[str]]":
    """Return what is known of it: of choices and files by click, else by us."""
    if isinstance(param.type, click.Choice | click.Path):
        return param.type.shell_complete(ctx, param, incomplete)
    from xmpp_onion.cli.completion import complete_value  # noqa: PLC0415 - not for help

    return complete_value(ctx, param, incomplete)


def _make_param(entry: ParamEntry) -> click.Parameter:
    kind: click.Choice[str] | click.Path | None = None
    if entry["choices"]:
        kind = click.Choice(entry["choices"])
    elif entry["path"]:
        kind = click.Path()
    if not entry["spellings"]:
        return _Argument(
            [entry["name"]],
            metavar=entry["metavar"],
            nargs=entry["nargs"],
            required=False,
            type=kind,
        )
    named = [*entry["spellings"], entry["name"]]
    if entry["flag"]:
        option = _Option(named, is_flag=True, flag_value=True)
    else:
        option = _Option(
            named,
            metavar=entry["metavar"],
            multiple=entry["multiple"],
            nargs=entry["nargs"],
            type=kind,
        )
    if entry["shown"]:
        left, right = entry["shown"]
        option.shown = (left, right)
    return option


def _write() -> None:
    # By its name, as commands are: in a program that runs, main knows us.
    program: click.Command = import_module("xmpp_onion.cli.main").program()
    text = json.dumps(describe(program), indent=1, ensure_ascii=False)
    CATALOGUE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
