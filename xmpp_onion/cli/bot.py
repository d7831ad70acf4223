"""``xmpp-onion bot``: run the bot that a file defines."""

import asyncio
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

import click

from xmpp_onion.account import Account
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.watchdog import watched
from xmpp_onion.bot import Bot, make_project
from xmpp_onion.cli.reach import check_free, hold, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.logs import Format

__all__ = ["command"]

log = logging.getLogger(__name__)


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
    settings.output.note(f"Test it: cd {place} && python -m pytest")


@command.command("run")
@click.argument("target", metavar="FILE.py[:NAME]")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]),
    help="How its log is written to stderr: it names nobody.",
)  # fmt: skip
@click.pass_context
def _run(ctx: click.Context, target: str, log_format: str | None) -> None:
    """Run the bot NAME of FILE.py, or the only one there.

    It uses the account of the profile that its name says, or of --profile.
    """
    settings = ctx.ensure_object(Settings)
    bot = _find(target)
    if "profile" not in settings.given:
        settings.profile = bot.name
        settings.given.add("profile")
    found = settings.complete()  # again: of this profile
    profile = settings.profile
    check_free(settings, profile)
    account = load_account(settings, profile)
    bot.program.write_log(found, _style(log_format))
    asyncio.run(_serve(settings, bot, bot.program.adopt(account)))


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


async def _serve(settings: Settings, bot: Bot, account: Account) -> None:
    output = settings.output
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
