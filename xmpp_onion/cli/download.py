"""``xmpp-onion download``: a file by its link, because somebody decided to."""

import os
import sys
from pathlib import Path

import click

from xmpp_onion.chat import FILE_LIMIT, Line, Link
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings
from xmpp_onion.cli.transfer import watching

__all__ = ["command"]

_MEGABYTE = 1_000_000


@click.command("download")
@click.argument("uri")
@click.option(
    "-o",
    "--output",
    "place",
    metavar="F",
    default="",
    type=click.Path(),
    help="The file to write, or the folder to put it into; by default here.",
)
@click.option(
    "--limit", "limit_mb", metavar="MB", type=click.IntRange(min=1),
    default=FILE_LIMIT // _MEGABYTE, show_default=True,
    help="Refuse a larger file.",
)  # fmt: skip
@click.pass_obj
def command(settings: Settings, uri: str, *, place: str, limit_mb: int) -> int:
    """Fetch the file that URI is the link to, through Tor; check all of it; keep it.

    URI is the `url` of a file that `listen` shows: aesgcm://….onion…#…. It holds the
    key; with - it is read from stdin, where no other user's `ps` shows it. Nothing is
    overwritten: a file of the same name makes the new one "name (2)".
    """
    link = Link.parse(sys.stdin.readline().strip() if uri == "-" else uri)
    folder, name = _split(place)
    request: Line = {
        "do": "download",
        "url": link.text,
        "folder": str(folder),
        "name": name,
        "limit": limit_mb * _MEGABYTE,
    }
    with watching(settings, "Fetching") as watch:
        return run(settings, request, _told, watch=watch)


def _split(place: str) -> tuple[Path, str]:
    """Return the folder and the name that are asked for."""
    where = Path(place)
    if where.is_dir():
        return where.absolute(), ""
    if place.endswith(os.sep):  # which a path does not keep
        raise click.UsageError(f"there is no folder {where}")
    if where.exists():
        raise click.UsageError(
            f"{where} is there already, and is not overwritten: name another with -o"
        )
    if not where.parent.is_dir():
        raise click.UsageError(f"there is no folder {where.parent}")
    return where.parent.absolute(), where.name


def _told(line: Line) -> str:
    return f"{visible(str(line['path']))}: {line['size']} bytes"
