"""``xmpp-onion``: global options, lazily loaded commands, errors and exit codes."""

import logging
import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from xmpp_onion.agent.memory import forbid_core_dumps
from xmpp_onion.cli.global_options import global_options, take_global_options
from xmpp_onion.cli.output import Output, ReaderGoneError
from xmpp_onion.cli.settings import Settings
from xmpp_onion.cli.streams import drop_unwritable, open_streams
from xmpp_onion.errors import XmppOnionError
from xmpp_onion.logs import write_logs
from xmpp_onion.version import __version__

__all__ = ["main", "program", "run"]

log = logging.getLogger(__name__)

# Command -> (module, what its line in --help says). Modules load when their command
# runs: --help must not wait for the encryption libraries.
_COMMANDS = {
    "demo": ("demo", "See it all work, on this machine alone."),
    "account": ("account", "Make, list and remove the account of a profile."),
    "send": ("send", "Send an encrypted message; exit 0 once the server has it."),
    "chat": ("chat", "Talk to somebody, or in a room, in this terminal."),
    "react": ("react", "Say what you feel about a message."),
    "retract": ("retract", "Ask others to forget a message of yours."),
    "sent": ("sent", "Tell how far a message of yours has come."),
    "download": ("download", "Fetch a file by its link, check it, and keep it."),
    "listen": ("listen", "Print decrypted messages as they come."),
    "contact": ("contact", "People: ask, accept, refuse, list, remove, block."),
    "room": ("room", "Rooms: list, create, join, leave, invite, kick, moderate."),
    "trust": ("trust", "Whose devices you believe."),
    "devices": ("devices", "Devices and fingerprints, yours and others'."),
    "agent": ("agent", "Keep one session, which makes every other command fast."),
    "export": ("export", "Write the account into one encrypted file."),
    "import": ("import_", "Take up an exported account, as a new device."),
    "bot": ("bot", "Run a bot."),
    "server": ("server", "Run an onion-only server."),
    "bench": ("bench", "Measure what things cost over a slow network."),
    "doctor": ("doctor", "Check Tor, the account and the server; say how to mend."),
    "config": ("config", "What was set in the file and the environment."),
    "completion": ("completion", "Have your shell complete our command lines."),
    "version": ("version", "Say which versions run here."),
}


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"xmpp_onion.cli.{_COMMANDS[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 - our own modules
        take_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click looks among what is loaded
            raise click.NoSuchCommand(
                error.command_name, possibilities=_COMMANDS, ctx=ctx
            ) from None

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


_NAME = "xmpp-onion"
_CLI = _LazyGroup(
    _NAME,
    help="""Private messaging carried only by Tor onion services.

    Everything is end-to-end encrypted (OMEMO), and nothing ever leaves Tor.
    Start with `xmpp-onion demo`. These options may stand after the command, too.
    """,
    params=global_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, prog_name=_NAME)(_CLI)


def program() -> click.Group:
    """Return all commands."""
    return _CLI


def main() -> None:
    """Run the command line and exit with the code that the contract gives."""
    forbid_core_dumps()
    if asked := os.environ.get("_XMPP_ONION_COMPLETE"):
        from xmpp_onion.cli import completion  # noqa: PLC0415 - rarely

        sys.exit(completion.answer(_outline(), asked))
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments) and _has_helped(arguments):
        return
    sys.exit(run(_CLI, arguments, Settings()))


def _outline() -> click.Group:
    """Return all commands without what they do: nothing slow is loaded."""
    from xmpp_onion.cli import catalogue  # noqa: PLC0415 - for help and completion

    made = catalogue.make_outline(
        _NAME, catalogue.read_catalogue(), take_global_options
    )
    assert isinstance(made, click.Group)  # noqa: S101 - we wrote it
    made.params, made.context_settings = _CLI.params, _CLI.context_settings
    return made


def _has_helped(arguments: list[str]) -> bool:
    """Show the help that was asked for; False if it was none that can be shown.

    Of the program itself, of what is not known and of ``-m --help`` the commands
    speak for themselves.
    """
    from xmpp_onion.cli.catalogue import NotHelpError  # noqa: PLC0415 - as above

    if arguments[0].startswith("-") and not set(arguments) & _COMMANDS.keys():
        return False
    try:
        _outline().main(
            arguments, prog_name=_NAME, standalone_mode=False, obj=Settings()
        )
    except (NotHelpError, click.ClickException, XmppOnionError):
        return False
    return True


def run(program: click.Command, arguments: list[str], settings: Settings) -> int:
    """Run a command line and return the exit code that the contract gives.

    Args:
        program: Its commands; it has the global options.
        arguments: What was typed behind its name.
        settings: What holds unless something else was typed.
    """
    open_streams()
    if not logging.getLogger().handlers:  # whoever tests us has their own
        write_logs(level=logging.WARNING, libraries=logging.WARNING, title="xmpp-onion")
    try:
        code = program.main(
            arguments, prog_name=program.name, standalone_mode=False, obj=settings
        )
    except BaseException as error:  # noqa: BLE001 - the last place before the person
        # Options that could not be read left no settings.
        as_json = settings.as_json or "--json" in arguments
        code = _end(error, Output(as_json=as_json, profile=settings.typed_profile))
        drop_unwritable()
    return code if isinstance(code, int) else 0


def _is_interrupt(error: BaseException) -> bool:
    """Tell whether Ctrl-C was pressed; Python may raise another error from that."""
    interrupts = KeyboardInterrupt | click.exceptions.Abort
    return isinstance(error, interrupts) or isinstance(error.__cause__, interrupts)


def _end(error: BaseException, output: Output) -> int:
    """Say what ended the command, as one error, and return the exit code."""
    if _is_interrupt(error):  # what is needed below may be loaded by half
        return 130
    from asyncio import CancelledError  # noqa: PLC0415 - --help does not need it

    from xmpp_onion.agent.failures import explain  # noqa: PLC0415 - only now
    from xmpp_onion.one_error import innermost  # noqa: PLC0415 - as above

    match innermost(error):
        case SystemExit(code=int(code)):
            return code
        case KeyboardInterrupt() | CancelledError():
            return 130
        case ReaderGoneError():
            sys.stdout = None  # say nothing when Python flushes it, either
            return 0
        case click.ClickException() as usage:
            if output.as_json:
                line = XmppOnionError(usage.format_message(), fix="See --help.")
                output.error({**line.as_line(), "code": usage.exit_code})
            else:
                usage.show()
            return usage.exit_code
        case found:
            explained = explain(found)
            with suppress(OSError, ReaderGoneError):  # it may be about our output
                output.error(explained.as_line())
            log.debug("it was raised here", exc_info=error)
            return explained.exit_code
