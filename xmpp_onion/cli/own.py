"""``bot.cli()``: the file of a bot is a program with commands of its own.

They are commands of ``xmpp-onion`` for the bot's profile, and one that runs it.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from xmpp_onion.agent.memory import forbid_core_dumps
from xmpp_onion.bot import Bot
from xmpp_onion.cli.bot import run_bot, run_options
from xmpp_onion.cli.global_options import global_options, take_global_options
from xmpp_onion.cli.main import run
from xmpp_onion.cli.reload import keep_reloading
from xmpp_onion.cli.settings import Settings

__all__ = ["make_program", "run_own"]

# Its command -> (module, the command there, what its line in --help says).
_BORROWED = {
    "init": ("account", "add", "Make its account, with an invite or an address."),
    "invite": ("trust", "qr", "Show its address and fingerprint as a code to scan."),
    "trust": ("trust", "", "Whose devices it believes."),
    "devices": ("devices", "", "Devices and fingerprints, its own and others'."),
    "contact": ("contact", "", "People: accept, refuse, list, remove, block."),
    "account": ("account", "", "Encrypt its account, or remove it."),
    "export": ("export", "", "Write its account into one encrypted file."),
    "import": ("import_", "", "Take up an exported account, as a new device."),
    "doctor": ("doctor", "", "Check Tor, the account and the server."),
}


def run_own(bot: Bot, arguments: Sequence[str] | None = None) -> None:
    """Run the command line of a bot, and end with the exit code of the contract.

    Args:
        bot: Whose it is.
        arguments: What was typed; by default behind the program's name.
    """
    forbid_core_dumps()
    typed = sys.argv[1:] if arguments is None else list(arguments)
    settings = Settings(profile=bot.name, given={"profile"})
    sys.exit(run(make_program(bot), typed, settings))


def make_program(bot: Bot) -> click.Group:
    """Return the commands of a bot."""
    name = Path(sys.argv[0]).name or bot.name
    program = _OwnGroup(
        name,
        help=f"{bot.name}, an encrypted bot, reached through Tor alone.",
        params=global_options(),
        context_settings={
            "help_option_names": ["-h", "--help"],
            # Its account believes whom the bot believes.
            "default_map": {"init": {"trust": str(bot.trust)}},
        },
    )
    program.add_command(_run_command(bot))
    return program


def _run_command(bot: Bot) -> click.Command:
    @click.command("run")
    @run_options
    @click.pass_context
    def command(
        ctx: click.Context, log_format: str | None, *, is_reloading: bool
    ) -> None:
        """Answer until Ctrl-C, or SIGTERM."""
        if is_reloading:
            keep_reloading(Path(sys.argv[0]).parent)
        run_bot(ctx.ensure_object(Settings), bot, log_format)

    return command


class _OwnGroup(click.Group):
    """A group that borrows a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_BORROWED]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None and cmd_name in _BORROWED:
            command = _borrow(cmd_name)
        if command is not None:
            take_global_options(command, self.name or "")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        own = [
            (name, command.get_short_help_str())
            for name, command in sorted(self.commands.items())
        ]
        borrowed = [(name, text) for name, (_, _, text) in _BORROWED.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *borrowed])


def _borrow(name: str) -> click.Command:
    module, inner, _ = _BORROWED[name]
    command = import_module(f"xmpp_onion.cli.{module}").command
    assert isinstance(command, click.Command)  # noqa: S101 - our own modules
    if not inner:
        return command
    assert isinstance(command, click.Group)  # noqa: S101 - as above
    return command.commands[inner]
