"""``xmpp-onion config``: what was set, and who said it."""

import difflib
from pathlib import Path

import click

from xmpp_onion.cli.global_options import makes_the_file
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.settings import Settings
from xmpp_onion.configuration import SETTINGS, Entry, Source, config_path

__all__ = ["command"]


class _SettingName(click.Choice[str]):
    """The name of a setting: all are completed, and none is listed in an error."""

    def __init__(self) -> None:
        super().__init__([*SETTINGS])

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the name; one that there is not is told with what it looks like."""
        if value not in SETTINGS:
            near = difflib.get_close_matches(value, SETTINGS, 1)
            meant = f" did you mean {near[0]!r}?" if near else ""
            self.fail(
                f"there is no setting {visible(value)!r};{meant} all of them: "
                "xmpp-onion config show",
                param,
                ctx,
            )
        return value


@click.group("config")
def command() -> None:
    """What was set in the file and the environment, and what counts."""


@command.command("path")
@makes_the_file
@click.pass_obj
def _path(settings: Settings) -> None:
    """Print where the file with settings is, or would be."""
    path = _file(settings)
    line = {"v": 1, "event": "config", "path": str(path), "exists": path.exists()}
    settings.output.result(line, str(path))


@command.command("show")
@click.argument("name", required=False, metavar="[NAME]", type=_SettingName())
@click.pass_obj
def _show(settings: Settings, name: str | None) -> None:
    """Print each setting, or that of NAME, and who said it.

    `flag`, `environment`, `profile` and `file` (its table, and its top), `default`.
    """
    for entry in settings.complete().entries:
        if name in {None, entry.setting.name}:
            _tell(settings, entry)


@command.command("set")
@click.argument("name", metavar="NAME", type=_SettingName())
@click.argument("value")
@makes_the_file
@click.pass_obj
def _set(settings: Settings, name: str, value: str) -> None:
    """Set NAME to VALUE in the file.

    For every profile; with --profile for that one. A file that is not there is made,
    for you alone. Comments and all else stay. It is told what counts then: a variable
    may say more.
    """
    from xmpp_onion.configuration import edit  # noqa: PLC0415 - for set and unset only

    try:
        read = edit.read_value(SETTINGS[name], value)
    except ValueError as error:
        raise click.BadParameter(f"{name} {error}", param_hint="VALUE") from None
    edit.set_value(_file(settings), name, read, _table(settings))
    _tell_what_counts(settings, name)


@command.command("unset")
@click.argument("name", metavar="NAME", type=_SettingName())
@click.pass_obj
def _unset(settings: Settings, name: str) -> None:
    """Take NAME out of the file.

    With --profile out of the table of that one.
    """
    from xmpp_onion.configuration import edit  # noqa: PLC0415 - as above

    if not edit.unset_value(_file(settings), name, _table(settings)):
        settings.output.note("It was not set there.")
    _tell_what_counts(settings, name)


def _file(settings: Settings) -> Path:
    return settings.config or config_path()


def _table(settings: Settings) -> str | None:
    """Return the profile whose table is meant: the one that was typed."""
    is_typed = "profile" in settings.given - settings.from_environment
    return settings.profile if is_typed else None


def _tell_what_counts(settings: Settings, name: str) -> None:
    for entry in settings.complete().entries:
        if entry.setting.name == name:
            _tell(settings, entry)


def _tell(settings: Settings, entry: Entry) -> None:
    source = _source(settings, entry)
    line = {
        "v": 1,
        "event": "setting",
        "name": entry.setting.name,
        "value": entry.shown,
        "source": str(source),
        "text": entry.setting.text,
    }
    name, value = entry.setting.name, visible(entry.shown)
    told = f"{name} = {value}  ({source})" if value else f"{name} is not set"
    settings.output.result(line, told)


def _source(settings: Settings, entry: Entry) -> Source:
    """Return who said it; an option that its variable set was not typed."""
    if entry.source is Source.FLAG and entry.setting.name in settings.from_environment:
        return Source.ENVIRONMENT
    return entry.source


@command.command("check")
@click.pass_obj
def _check(settings: Settings) -> None:
    """Check the file and the environment: keys, values, who can read it.

    All profiles of the file are checked; what is wrong is the error of each command.
    """
    found = settings.complete()
    exists = found.path.exists()
    line = {"v": 1, "event": "config", "path": str(found.path), "exists": exists}
    told = "nothing is wrong with it" if exists else "there is none, and need be none"
    settings.output.result(line, f"{found.path}: {told}")
