"""``agent start``: log in and stay, here or in the background."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xmpp_onion import places, private
from xmpp_onion.cli.reach import check_free, enter, load_account
from xmpp_onion.cli.settings import Settings
from xmpp_onion.errors import StoreError

if TYPE_CHECKING:
    from xmpp_onion.account import Account

__all__ = ["start", "start_in_background", "unit"]

_UNIT = """\
# xmpp-onion agent unit > ~/.config/systemd/user/xmpp-onion-agent.service
# systemctl --user enable --now xmpp-onion-agent
[Unit]
Description=xmpp-onion, the session of {profile}
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=5min
# It is ready once it is logged in, which takes as long as the network takes.
TimeoutStartSec=infinity
ExecStart={command} agent start --wait
Restart=on-failure
RestartSec=10
# 6: the password is wrong, 7: the account cannot be opened. Trying again would help
# nobody.
RestartPreventExitStatus=2 6 7
TimeoutStopSec=15
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths=%h
UMask=0077
# Nothing but Tor's ports on this machine is ever talked to.
IPAddressDeny=any
IPAddressAllow=localhost
RestrictAddressFamilies=AF_UNIX AF_INET
LimitCORE=0

[Install]
WantedBy=default.target
"""


def start(
    settings: Settings, share: Path | None, group: str | None, *, is_patient: bool
) -> int:
    """Hold the account until we are told to end.

    Args:
        settings: The global options.
        share: A socket for other users, if there is to be one.
        group: Those users.
        is_patient: Wait for an account that another process holds.
    """
    if not is_patient:
        check_free(settings)
    account = load_account(settings)
    asyncio.run(_serve(settings, account, share, group, is_patient=is_patient))
    return 0


async def _serve(
    settings: Settings,
    account: "Account",
    share: Path | None,
    group: str | None,
    *,
    is_patient: bool,
) -> None:
    from xmpp_onion.agent.hatch import Share  # noqa: PLC0415 - it takes a second
    from xmpp_onion.agent.keeper import keep  # noqa: PLC0415 - as well
    from xmpp_onion.agent.signals import until_terminated  # noqa: PLC0415 - as well
    from xmpp_onion.agent.watchdog import watched  # noqa: PLC0415 - as well

    shared = None if share is None or group is None else Share.at(share, group)
    stop = asyncio.Event()
    async with (
        until_terminated(),
        keep(
            account,
            lambda now: enter(settings, now, login_timeout=None),
            stop=stop,
            share=shared,
            is_patient=is_patient,
        ) as keeper,
        watched(keeper, lambda: keeper.words) as tell,
    ):
        keeper.changed = lambda: tell(keeper.words)
        settings.output.result(
            {"v": 1, "event": "ready", "jid": account.jid},
            f"Ready as {account.jid}; stop it with `agent stop` or Ctrl-C.",
        )
        await stop.wait()


def start_in_background(
    settings: Settings, share: Path | None, group: str | None
) -> int:
    """Start the agent as a process of its own; return the exit code.

    Returns once it is logged in: until then there is somebody to tell what is wrong.
    What it says later goes into ``agent.log`` beside the account.
    """
    check_free(settings)
    secret, options = _open(settings)  # what opens it is asked for here
    settings.output.note("Starting in the background; Tor may take a minute…")
    command = [*_command(settings), *options, "agent", "start"]
    if share is not None and group is not None:
        command += ["--share", str(share.absolute()), "--group", group]
    folder = places.account_folder(settings.profile, settings.data_dir)
    with private.open_anew(folder / "agent.log") as log:
        child = subprocess.Popen(  # ours no more: a session of its own
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        line = _first_line(child, secret)
    except BaseException:  # Ctrl-C means the agent, too
        child.terminate()
        raise
    if line is None:
        raise StoreError(
            "the agent did not start",
            why="it ended without a word",
            fix=f"Read {folder / 'agent.log'}.",
        )
    if line["event"] == "error":
        settings.output.error(line)
        return int(str(line["code"]))
    settings.output.result(line, f"Ready as {line['jid']}; stop it with `agent stop`.")
    return 0


def unit(settings: Settings, python: str) -> str:
    """Return the text of a systemd unit for the agent of the profile."""
    words = [python, "-m", "xmpp_onion", *_globals(settings)]
    command = " ".join(_quoted(word) for word in words)
    return _UNIT.format(profile=settings.profile, command=command)


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back: no specifier, no variable, one word."""
    safe = word.replace("%", "%%").replace("$", "$$")
    return (
        safe
        if safe.isascii() and not set(safe) & set(" \t\"'\\;")
        else ('"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"')
    )


def _command(settings: Settings) -> list[str]:
    verbose = ["-v"] * settings.verbosity
    return [sys.executable, "-m", "xmpp_onion", "--json", *verbose,
            *_globals(settings)]  # fmt: skip


def _globals(settings: Settings) -> list[str]:
    """Return the global options that another process needs to do the same."""
    data_dir = settings.data_dir
    given = {
        "--profile": settings.profile,
        "--data-dir": None if data_dir is None else str(data_dir.absolute()),
        "--socks": settings.socks,
        "--control": settings.control,
        "--key-file": settings.key_file and str(settings.key_file.absolute()),
    }
    return [word for name, at in given.items() if at for word in (name, at)]


def _open(settings: Settings) -> tuple[str, list[str]]:
    """Open the account; return its passphrase, if it has one, and how to take it."""
    from xmpp_onion.account import Account  # noqa: PLC0415 - `agent stop` needs none
    from xmpp_onion.agent import profile  # noqa: PLC0415 - as well
    from xmpp_onion.cli import unlock  # noqa: PLC0415 - as well
    from xmpp_onion.seal import Kind  # noqa: PLC0415 - as well

    name, data_dir = settings.profile, settings.data_dir
    kind = profile.check_folders(name, data_dir)
    folder = places.account_folder(name, data_dir)
    secret = None if kind is None else unlock.find(settings, kind, folder)
    Account.load(name, data_dir, secret=secret)  # a wrong one is told here
    if secret is None or secret.kind is not Kind.PASSPHRASE:
        return "", []
    return secret.reveal(), ["--passphrase-file", "-"]


def _first_line(
    child: subprocess.Popen[bytes], passphrase: str
) -> dict[str, object] | None:
    """Give the child what opens the account, and return what it says first."""
    assert child.stdin is not None  # noqa: S101 - for the type checker
    assert child.stdout is not None  # noqa: S101 - for the type checker
    with child.stdin as stdin:
        stdin.write(passphrase.encode() + b"\n")
    with child.stdout as stdout:
        line: dict[str, object] | None = json.loads(stdout.readline() or b"null")
    return line
