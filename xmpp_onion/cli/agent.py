"""``xmpp-onion agent``: one session that stays, so that all others are fast."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xmpp_onion import locks, places, private
from xmpp_onion.cli import agent_start, agent_token
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import ask_holder
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreLockedError

if TYPE_CHECKING:
    from xmpp_onion.chat import Line

__all__ = ["command"]

# Seconds for a holder to end in order.
_STOP_SECONDS = 30.0


@click.group("agent")
def command() -> None:
    """Keep one session, which makes every other command fast.

    It holds the account: `send`, `room`, `trust` and the others of the same profile
    go through it, in a tenth of a second instead of a login.
    """


command.add_command(agent_token.command)


@command.command("start")
@click.option("--detach", is_flag=True, help="In the background, until `agent stop`.")
@click.option(
    "--wait", "is_patient", is_flag=True,
    help="Where another process holds the account, wait until it ends.",
)  # fmt: skip
@click.option(
    "--share", metavar="PATH", type=click.Path(path_type=Path),
    help="Let others have texts sent through a socket there, who have a token.",
)  # fmt: skip
@click.option(
    "--group", metavar="GROUP", help="With --share: the users who can reach it."
)
@click.pass_obj
def _start(
    settings: Settings,
    *,
    detach: bool,
    is_patient: bool,
    share: Path | None,
    group: str | None,
) -> int:
    """Log in and stay, until SIGTERM, Ctrl-C or `agent stop`.

    Messages that come wait on the disk for `listen`, `chat` or a bot. `chat` of the
    same profile borrows the account, and the agent takes it again when that ends.
    """
    if (share is None) != (group is None):
        raise click.UsageError("--share needs a --group, and --group a --share")
    if detach and is_patient:
        raise click.UsageError("--wait is for a service, and not with --detach")
    if detach:
        return agent_start.start_in_background(settings, share, group)
    return agent_start.start(settings, share, group, is_patient=is_patient)


@command.command("stop")
@click.pass_obj
def _stop(settings: Settings) -> int:
    """End the agent; returns when the account is free.

    One that has lent the account ends at once, and whoever talks goes on.
    """
    return asyncio.run(_end(settings))


async def _end(settings: Settings) -> int:
    lines = await ask_holder(settings, {"do": "stop"})
    for line in lines or [_stopped(settings)]:
        if line["event"] == "error":
            settings.output.error(line)
            return int(str(line["code"]))
        if line.get("lent"):
            left = _stopped(settings) | {"lent": line["lent"]}
            settings.output.result(left, _told_left(left))
            return 0
    folder = places.account_folder(settings.profile, settings.data_dir)
    await _wait_free(folder / "store.sqlite3.lock")
    stopped = _stopped(settings)
    ended = "It has ended. " if lines else ""
    settings.output.result(stopped, ended + _told(stopped))
    return 0


async def _wait_free(lock: Path) -> None:
    if not private.check_file(lock):
        return  # nobody ever held it
    with locks.open_lock(lock) as descriptor:
        if not await locks.take(lock, descriptor, patience=_STOP_SECONDS):
            raise StoreLockedError(
                "the account is not free yet",
                why=f"the agent did not end within {_STOP_SECONDS:.0f} seconds",
                fix=f"See which process it is: fuser {lock}",
            )


@command.command("status")
@click.pass_obj
def _status(settings: Settings) -> int:
    """Tell how the process that holds the account is.

    The exit code is 0 if it is connected, 3 if it waits for the network, and 7 if
    there is none.
    """
    lines = asyncio.run(ask_holder(settings, {"do": "status"}))
    for line in lines or [_stopped(settings)]:
        if line["event"] == "error":
            settings.output.error(line)
            return int(str(line["code"]))
        settings.output.result(line, _told(line))
        return {"connected": 0, "waiting": 3}.get(str(line["state"]), 7)
    return 7


@command.command("unit")
@click.pass_obj
def _unit(settings: Settings) -> None:
    r"""Print a systemd unit that keeps the agent of this profile running.

    \b
    xmpp-onion agent unit > ~/.config/systemd/user/xmpp-onion-agent.service
    systemctl --user enable --now xmpp-onion-agent
    """
    text = agent_start.unit(settings, sys.executable)
    settings.output.result({"v": 1, "event": "unit", "text": text}, text.rstrip())


def _stopped(settings: Settings) -> "Line":
    return {
        "v": 1,
        "event": "agent",
        "state": "stopped",
        "profile": settings.profile,
    }


def _told(line: "Line") -> str:
    """Return how a holder is, for a person."""
    if line["state"] == "stopped":
        return f"Nobody holds the account of the profile {line['profile']!r}."
    kind = "an agent" if line["agent"] else "another command"
    parts = [f"{line['jid']}: {line['state']}"]
    if "since" in line:
        parts[0] += f", since {line['since']}"
        parts += [
            f"{line['queue']} wait to be sent" if line["queue"] else "nothing waits"
        ]
    tor = f", Tor at {line['tor']}" if line.get("tor") else ""
    lent = f", {_told_loan(line)}" if line.get("lent") else ""
    return visible(f"{'; '.join(parts)}{tor} ({kind}, process {line['pid']}{lent})")


def _told_left(line: "Line") -> str:
    return visible(
        f"The agent has ended. Its account was {_told_loan(line)}, which goes on."
    )


def _told_loan(line: "Line") -> str:
    lent = line["lent"]
    assert isinstance(lent, dict)  # noqa: S101 - for the type checker
    return f"lent to {lent['to']}, process {lent['pid']}"
