"""``xmpp-onion export``: the account in one encrypted file."""

import asyncio
from pathlib import Path

import click

from xmpp_onion.cli import unlock
from xmpp_onion.cli.reach import load_account
from xmpp_onion.cli.settings import Settings

__all__ = ["command"]


@click.command("export")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--new-key-file", metavar="F", type=click.Path(path_type=Path),
    help="What shall open FILE; else a passphrase is asked for.",
)  # fmt: skip
@click.option(
    "--new-passphrase-file", metavar="F", help="Or a passphrase; - for stdin."
)
@click.pass_obj
def command(
    settings: Settings,
    file: Path,
    *,
    new_key_file: Path | None,
    new_passphrase_file: str | None,
) -> None:
    """Write the account into one encrypted FILE, for `import` on another machine.

    Your identity, trust, people, rooms and what nobody has read yet; not your
    sessions, nor what waits to be sent. It may be in use meanwhile, and stays so.
    """
    account = load_account(settings)
    secret = unlock.find_given(new_key_file, new_passphrase_file)
    secret = secret or unlock.ask_new("--new-")
    from xmpp_onion.agent import export  # noqa: PLC0415 - not before all was asked

    moved = asyncio.run(export.export_account(account, file, secret))
    settings.output.result(
        {
            "v": 1,
            "event": "exported",
            "jid": moved.jid,
            "file": str(file),
            "fingerprint": moved.fingerprint,
            "device": moved.device,
            "rows": moved.rows,
        },
        f"{file} has {moved.jid}, without its sessions.",
    )
    settings.output.note("Who opens it is you: keep it where nobody looks.")
