"""``xmpp-onion bot``: run the bot that a file defines."""

import asyncio
import importlib.util
import logging
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import click

from xmpp_onion.account import Account
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.watchdog import watched
from xmpp_onion.bot import Bot, make_project
from xmpp_onion.cli.output import Output
from xmpp_onion.cli.reach import check_free, hold, load_account
from xmpp_onion.cli.reload import keep_reloading
from xmpp_onion.cli.settings import Settings
from xmpp_onion.logs import Format

__all__ = ["command", "run_bot", "run_options"]

log = logging.getLogger(__name__)


CommandT = TypeVar("CommandT", bound=Callable[..., None])  # type: ignore[explicit-any] # as click has it


def run_options(function: CommandT) -> CommandT:  # type: ignore[explicit-any] # as above
    """Give a command the options of running a bot."""
    form = click.option(
        "--log-format", type=click.Choice(["text", "json"]),
        help="How its log is written to stderr: it names nobody.",
    )  # fmt: skip
    again = click.option(
        "--reload", "is_reloading", is_flag=True,
        help="Start it anew when a file beside it changes: while you write it.",
    )  # fmt: skip
    return form(again(function))


@click.group("bot")
def command() -> None:
    """Make a bot, and run it."""


@command.command("new")
@click.argument("name")
@click.argument("folder", metavar="[DIR]", default="", type=click.Path(path_type=Path))
@click.pass_context
def _new(ctx: click.Context, name: str, folder: Path) -> None:
    """Write a bot called NAME, its test and its unit file into DIR.

    DIR is ./NAME by default. Nothing that is there is changed.
    """
    settings = ctx.ensure_object(Settings)
    place = folder if folder.name else Path(name)
    files = make_project(name, place)
    settings.output.result(
        {"v": 1, "event": "files", "files": [str(path) for path in files]},
        "\n".join(map(str, files)),
    )
    needs = [name for name in ("pytest", "pytest-asyncio") if not _has(name)]
    install = f"pip install {' '.join(needs)} && " if needs else ""
    settings.output.note(f"Test it: {install}cd {place} && python -m pytest")


def _has(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@command.command("run")
@click.argument("target", metavar="FILE.py[:NAME]")
@run_options
@click.pass_context
def _run(
    ctx: click.Context, target: str, log_format: str | None, *, is_reloading: bool
) -> None:
    """Run the bot NAME of FILE.py, or the only one there.

    It uses the account of the profile that its name says, or of --profile.
    """
    settings = ctx.ensure_object(Settings)
    if is_reloading:
        text, _, _ = target.partition(":")
        keep_reloading(Path(text).parent)
    run_bot(settings, _find(target), log_format)


def run_bot(settings: Settings, bot: Bot, log_format: str | None) -> None:
    """Run a bot with its account, until it is told to end."""
    if "profile" not in settings.given:
        settings.profile = bot.name
        settings.given.add("profile")
    found = settings.complete()  # again: of this profile
    check_free(settings)
    account = load_account(settings)
    output = settings.output
    bot.program.write_log(found, _style(log_format))
    if settings.quiet or settings.verbosity:
        output = settings.output  # how much was typed counts more than a file
    asyncio.run(_serve(settings, output, bot, bot.program.adopt(account)))


def _style(word: str | None) -> Format | None:
    return None if word is None else ("json" if word == "json" else "text")


def _find(target: str) -> Bot:
    text, _, name = target.partition(":")
    path = Path(text)
    if not path.is_file():
        raise click.UsageError(f"there is no file {text!a}")
    module = _load(path)
    bots = {key: one for key, one in vars(module).items() if isinstance(one, Bot)}
    if name:
        bots = {key: one for key, one in bots.items() if key == name}
    if len(bots) != 1:
        found = ", ".join(sorted(bots)) or "none"
        raise click.UsageError(
            f"{text} must define the bot that is asked for; it defines: {found}"
        )
    return next(iter(bots.values()))


def _load(path: Path) -> ModuleType:
    """Run a file of the user's as a module.

    Raises:
        UsageError: It is no Python, or it fails.
    """
    name = f"bot_{path.stem}"  # not as it is: it may be called as a library is
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{str(path)!a} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        log.debug("the bot's file failed", exc_info=error)
        raise click.UsageError(
            f"{path} cannot be run: {type(error).__name__}: {error} (-vv shows where)"
        ) from error
    return module


async def _serve(
    settings: Settings, output: Output, bot: Bot, account: Account
) -> None:
    async with (
        until_terminated(),
        hold(settings, account, trust=bot.trust, login_timeout=None) as client,
    ):
        output.result(
            {"v": 1, "event": "ready", "jid": client.jid},
            f"{bot.name} is ready as {client.jid}\nfingerprint {client.fingerprint}",
        )
        async with watched(client):
            await bot.serve(client)
