"""``xmpp-onion config``: what was set, and who said it."""

import click

from xmpp_onion.cli.output import visible
from xmpp_onion.cli.settings import Settings
from xmpp_onion.configuration import SETTINGS, Entry, Source, config_path

__all__ = ["command"]


@click.group("config")
def command() -> None:
    """What was set in the file and the environment, and what counts."""


@command.command("path")
@click.pass_obj
def _path(settings: Settings) -> None:
    """Print where the file with settings is, or would be."""
    path = settings.config or config_path()
    line = {"v": 1, "event": "config", "path": str(path), "exists": path.exists()}
    settings.output.result(line, str(path))


@command.command("show")
@click.argument("name", required=False, type=click.Choice(list(SETTINGS)))
@click.pass_obj
def _show(settings: Settings, name: str | None) -> None:
    """Print each setting, or that of NAME, with its value and who said it.

    `flag`, `environment`, `profile` and `file` (its table, and its top), `default`.
    """
    for entry in settings.complete().entries:
        if name in {None, entry.setting.name}:
            source = _source(settings, entry)
            line = {
                "v": 1,
                "event": "setting",
                "name": entry.setting.name,
                "value": entry.shown,
                "source": str(source),
                "text": entry.setting.text,
            }
            told = f"{entry.setting.name} = {visible(entry.shown)}  ({source})"
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
