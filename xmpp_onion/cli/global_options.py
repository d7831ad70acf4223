"""The options that every command takes, before its name or after it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from xmpp_onion.cli.settings import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["global_options", "makes_the_file", "take_global_options"]

P = ParamSpec("P")
T = TypeVar("T")
_MAKERS: set[object] = set()


def global_options() -> list[click.Option]:
    """Return the options as they stand before a command, or in a program's --help."""
    return [
        *_whose(),
        *_through_which_tor(),
        *_what_opens_it(),
        _option(
            "--config", metavar="F", envvar="XMPP_ONION_CONFIG",
            type=click.Path(path_type=Path),
            help="Settings for what is not typed; config.toml in your config folder.",
        ),
        *_how_it_is_told(),
    ]  # fmt: skip


def _whose() -> list[click.Option]:
    return [
        _option(
            "--profile", metavar="NAME", envvar="XMPP_ONION_PROFILE",
            shell_complete=_complete,
            help="Which account of yours; 'default' if you have one.",
        ),
        _option(
            "--data-dir", metavar="DIR", envvar="XMPP_ONION_DATA_DIR",
            type=click.Path(path_type=Path, file_okay=False),
            help="Where profiles live; your data folder by default.",
        ),
    ]  # fmt: skip


def _through_which_tor() -> list[click.Option]:
    return [
        _option(
            "--socks", metavar="HOST:PORT", envvar="XMPP_ONION_SOCKS",
            help="The Tor to use; by default a running one, else our own.",
        ),
        _option(
            "--control", metavar="HOST:PORT", envvar="XMPP_ONION_CONTROL",
            help="Its control port; a server publishes its onion there.",
        ),
    ]  # fmt: skip


def _what_opens_it() -> list[click.Option]:
    return [
        _option(
            "--key-file", metavar="F", type=click.Path(path_type=Path),
            help="What opens an encrypted account.",
        ),
        _option(
            "--passphrase-file", metavar="F",
            help="Or its passphrase; - for stdin; else it is asked for.",
        ),
    ]  # fmt: skip


def _how_it_is_told() -> list[click.Option]:
    return [
        _option(
            "--json", "as_json", is_flag=True, default=None,
            help="One JSON object a line.",
        ),
        _option(
            "-q", "--quiet", is_flag=True, default=None,
            help="No messages for people.",
        ),
        _option(
            "-v", "--verbose", "verbosity", count=True, default=None,
            help="Say more; twice for the details.",
        ),
    ]  # fmt: skip


def _option(*names: str, **how: object) -> click.Option:
    """Return an option whose value is kept for all commands."""
    return click.Option(
        names,
        expose_value=False,
        is_eager=True,
        callback=_keep,
        **how,  # type: ignore[arg-type]  # click's own keyword arguments
    )


def _hidden(option: click.Option) -> click.Option:
    """Return an option as it stands after a command.

    It is not in the command's --help, and does not look into the environment: what was
    typed before the command counts more.
    """
    option.hidden, option.envvar = True, None
    return option


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Put what was given where every command finds it."""
    settings = ctx.ensure_object(Settings)
    if value is None or param.name is None:
        return
    setattr(settings, param.name, value)
    settings.given.add(param.name)
    source = ctx.get_parameter_source(param.name)
    if source is click.core.ParameterSource.ENVIRONMENT:
        settings.from_environment.add(param.name)
    else:
        settings.from_environment.discard(param.name)


def _complete(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    from xmpp_onion.cli.completion import complete_value  # noqa: PLC0415 - then only

    return complete_value(ctx, param, incomplete)


def take_global_options(command: click.Command, program: str = "xmpp-onion") -> None:
    """Let ``command`` and what is below it take the global options too."""
    if "profile" in {param.name for param in command.params}:
        return  # this command was asked for before
    command.params += [_hidden(each) for each in global_options()]
    command.epilog = f"Options of every command: {program} --help"
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            take_global_options(inner, program)
    elif command.callback is not None:
        command.callback = _after_settings(command.callback)


def _after_settings(  # type: ignore[explicit-any] # a callback, as click has it
    callback: Callable[..., object],
) -> Callable[..., object]:
    """Return a command that begins when all its options were read."""

    @functools.wraps(callback)
    def call(*arguments: object, **options: object) -> object:
        settings = click.get_current_context().ensure_object(Settings)
        settings.complete(may_be_missing=callback in _MAKERS)
        return callback(*arguments, **options)

    return call


def makes_the_file(callback: Callable[P, T]) -> Callable[P, T]:
    """Mark a command that makes the file with settings, or says where it would be.

    One that was named and is not there is refused by all others.
    """
    _MAKERS.add(callback)
    return callback
