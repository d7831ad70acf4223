"""``xmpp-onion import``: an exported account, on this machine, as a new device."""

import asyncio
from pathlib import Path

import click

from xmpp_onion.cli import unlock
from xmpp_onion.cli.hints import of_profile
from xmpp_onion.cli.settings import Settings
from xmpp_onion.seal import Kind, Secret

__all__ = ["command"]


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.pass_obj
def command(settings: Settings, file: Path) -> None:
    """Take up the account that `export` wrote into FILE, in a profile that has none.

    It keeps your identity, so nobody has to verify you again, and is another device,
    with sessions of its own. The machine that it comes from has to stop, or both are
    yours from now on. What opens FILE is asked for, or named with the global options
    --passphrase-file and --key-file; what was encrypted on the disk is so here, with
    the same.
    """
    from xmpp_onion.agent import export  # noqa: PLC0415 - it takes a second to load

    def find(kind: Kind) -> Secret | None:
        return unlock.find(settings, kind, None)

    account, moved = asyncio.run(
        export.import_account(file, settings.profile, settings.data_dir, find)
    )
    settings.output.result(
        {
            "v": 1,
            "event": "imported",
            "profile": account.profile,
            "jid": moved.jid,
            "fingerprint": moved.fingerprint,
            "former_device": moved.device,
            "rows": moved.rows,
            "encrypted": account.seal is not None,
        },
        f"{moved.jid} is in the profile {account.profile!r}, with the fingerprint "
        f"that people know. Log in: {_login(settings)}",
    )
    settings.output.note(
        f"Once the old machine has stopped for good, take its device out of your "
        f"list: xmpp-onion devices remove {moved.device}"
    )


def _login(settings: Settings) -> str:
    """Return what to type next: a bot's own program is run, and has no ``listen``."""
    program = click.get_current_context().find_root().command
    assert isinstance(program, click.Group)  # noqa: S101 - ours has commands
    if "run" in program.commands:
        return f"{program.name} run"
    return of_profile("xmpp-onion listen", settings.typed_profile)
