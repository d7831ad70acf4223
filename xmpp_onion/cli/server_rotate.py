"""``xmpp-onion server rotate``: the same server under another onion name."""

import asyncio
from datetime import timedelta
from pathlib import Path

import click

from xmpp_onion.cli.duration import read_option
from xmpp_onion.cli.settings import Settings
from xmpp_onion.server import DEFAULT_GRACE, rotate

__all__ = ["command"]


@click.command("rotate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--keep-old", callback=read_option, default=f"{DEFAULT_GRACE.days}d",
    metavar="TIME", show_default=True,
    help="How long the old name tells people where the server is.",
)  # fmt: skip
@click.option(
    "--no-redirect", is_flag=True,
    help="Never: the old key may be in other hands, and is removed.",
)  # fmt: skip
@click.option(
    "--new-key", type=click.Path(path_type=Path), metavar="FILE",
    help="The key of the new name, made before; else a new one is made.",
)  # fmt: skip
@click.pass_obj
def command(
    settings: Settings,
    folder: Path,
    *,
    keep_old: int,
    no_redirect: bool,
    new_key: Path | None,
) -> None:
    """Give the server of DIR another onion name.

    It must be stopped, and is not started. Passwords, contacts, rooms, archives and
    keys stay; invites that nobody used have to be made anew. People are told when they
    log in under the old name, and follow with `account move`.
    """
    grace = None if no_redirect else timedelta(seconds=keep_old)
    rotated = asyncio.run(rotate(folder, grace=grace, new_key=new_key))
    until = rotated.until
    settings.output.result(
        {
            "v": 1,
            "event": "rotated",
            "old": rotated.old,
            "new": rotated.new,
            "fingerprint": rotated.certificate,
            "until": None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}",
        },
        f"{rotated.new}\nStart it: xmpp-onion server up {folder}",
    )
    settings.output.note(
        "The old name is shut: tell people the new one over another channel."
        if until is None
        else f"Until {until:%Y-%m-%d} the old name tells its people where you are."
    )
