"""``server backup`` and ``server restore``."""

import asyncio
from pathlib import Path

import click

from xmpp_onion.cli import unlock
from xmpp_onion.cli.settings import Settings
from xmpp_onion.seal import Kind, Secret
from xmpp_onion.server import backup, restore

__all__ = ["backup_command", "restore_command"]

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


@click.command("backup")
@_FOLDER
@_FILE
@click.option(
    "--without-uploads", is_flag=True, help="Leave out the files that people shared."
)
@click.pass_obj
def backup_command(
    settings: Settings, folder: Path, file: Path, *, without_uploads: bool
) -> None:
    """Write the server of DIR into one encrypted file.

    All of it, its address too. It may run meanwhile. What encrypts it is asked for,
    or named with the global options --passphrase-file and --key-file.
    """
    secret = unlock.find_given(settings.key_file, settings.passphrase_file)
    saved = asyncio.run(
        backup(
            folder,
            file,
            secret or unlock.ask_new(),
            with_uploads=not without_uploads,
        )
    )
    settings.output.result(
        {
            "v": 1,
            "event": "backup",
            "onion": saved.onion,
            "file": str(file),
            "files": saved.files,
            "bytes": saved.size_bytes,
        },
        f"{file} has {saved.files} files of {saved.onion}.",
    )
    settings.output.note("Who opens it is your server: keep it where nobody looks.")


@click.command("restore")
@_FILE
@_FOLDER
@click.pass_obj
def restore_command(settings: Settings, file: Path, folder: Path) -> None:
    """Make a server in DIR out of a backup.

    With the same address and accounts. Nothing is started. Do not start it while
    the first one runs, anywhere: two servers of one address answer now here, now
    there, and people lose messages.
    """

    def find(kind: Kind) -> Secret | None:
        return unlock.find(settings, kind, None)

    onion = restore(file, folder, find)
    settings.output.result(
        {"v": 1, "event": "restored", "onion": onion, "folder": str(folder)},
        f"{onion}\nStart it: xmpp-onion server up {folder}",
    )
    settings.output.note(
        "First see to it that the old one is stopped, and is never started again."
    )
