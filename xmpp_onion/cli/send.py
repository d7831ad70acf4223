"""``xmpp-onion send``: one message, exit 0 once the server has it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xmpp_onion.cli.duration import read_option
from xmpp_onion.cli.output import visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.send_through import send_through
from xmpp_onion.cli.settings import Settings
from xmpp_onion.cli.transfer import watching
from xmpp_onion.cli.voice import recorded

if TYPE_CHECKING:
    from xmpp_onion.account import Account
    from xmpp_onion.chat import Line

__all__ = ["command", "told"]

# Prosody lets 256 KiB pass; encryption and base64 add a third, keys some more.
_TEXT_LIMIT_BYTES = 128 * 1024


# \b keeps the lines of a paragraph apart.
_HELP = """Send an encrypted message to each TO.

\b
echo disk full | xmpp-onion send ops@….onion
xmpp-onion send ops@….onion -m "disk full"
xmpp-onion send ops@….onion --file report.pdf
arecord -f cd -d 10 | xmpp-onion send bob@….onion --voice -
"""


@click.command("send", help=_HELP)
@click.argument("to", nargs=-1, required=True)
@click.option("-m", "--message", metavar="TEXT", help="What to say; else from stdin.")
@click.option(
    "--file",
    "path",
    metavar="F",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Send this file instead; it is encrypted while it is read.",
)
@click.option(
    "--voice",
    metavar="F",
    help="Send this recording instead, with its length; - for stdin.",
)
@click.option(
    "--pad", is_flag=True,
    help="Fill the file up, so that the server sees its size less exactly.",
)  # fmt: skip
@click.option(
    "--correct", metavar="ID", help="Say what that message of yours should have said."
)
@click.option(
    "--mention", "mentions", multiple=True, metavar="JID",
    help="Whom the text speaks of or to; their programs can tell them. May be given "
    "often.",
)  # fmt: skip
@click.option(
    "--expires", callback=read_option, metavar="TIME",
    help="How long it may be kept, such as 30m, 1h or 7d; clients that heed it "
    "erase it then.",
)  # fmt: skip
@click.option(
    "--wait", type=click.Choice(["ack", "receipt", "none"]), default="ack",
    show_default=True,
    help="Until the server has it, until a device of TO confirms it, or not at all.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="Seconds for a login, then for the ack or receipt; a message without an ack "
    "stays queued (exit 8).",
)  # fmt: skip
@click.option(
    "--queue", is_flag=True,
    help="Return once it is on this disk: it goes out by itself, at the next login if "
    "nobody holds the account.",
)  # fmt: skip
@click.option(
    "--dry-run", is_flag=True,
    help="Send nothing: show for which devices it would be encrypted.",
)  # fmt: skip
@click.option(
    "--agent", metavar="PATH", type=click.Path(path_type=Path),
    envvar="XMPP_ONION_AGENT",
    help="The socket of another user's agent, who gave you a token.",
)  # fmt: skip
@click.option(
    "--token-file", metavar="F", type=click.Path(path_type=Path),
    envvar="XMPP_ONION_TOKEN_FILE", help="With --agent: where the token is.",
)  # fmt: skip
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    to: tuple[str, ...],
    *,
    message: str | None,
    path: Path | None,
    voice: str | None,
    pad: bool,
    correct: str | None,
    mentions: tuple[str, ...],
    expires: int | None,
    wait: str,
    timeout: float | None,
    queue: bool,
    dry_run: bool,
    agent: Path | None,
    token_file: Path | None,
) -> int:
    """Send an encrypted message to each TO, all at once."""
    if dry_run:
        rehearsal: Line = {"do": "dry-run", "to": list(to), "timeout": timeout}
        return run(settings, rehearsal, _told_plan, check=lambda: _check(to))
    others = (correct, mentions, path, voice) != (None, (), None, None)
    if (others and (queue or agent is not None)) or (queue and agent is not None):
        raise click.UsageError("with --queue or --agent a text goes, and nothing else")
    _check_change(to, correct, mentions, wait)
    how: Line = {"expires": expires, "wait": wait, "timeout": timeout}
    _check_file(path, voice, [message, correct, *mentions], pad=pad)
    if path is not None or voice is not None:
        with recorded(path, voice) as file:
            how |= {"path": str(file.absolute()), "voice": voice is not None}
            return _send_file(settings, to, how | {"pad": pad})
    what: Line = {"correct": correct, "mentions": list(mentions), "queue": queue}
    request: Line = {"do": "send", "to": list(to), "text": _read_text(message)}
    request |= what | how
    if agent is not None:
        return send_through(
            settings, agent, token_file=token_file, request=request, tell=told
        )
    return _send_text(settings, request, [*to, *mentions], queue=queue)


def _send_text(
    settings: Settings, request: "Line", people: Sequence[str], *, queue: bool
) -> int:
    # What is to be queued is kept where nobody holds the account; else a login sends.
    keep = (lambda account: _keep(account, request)) if queue else None
    return run(settings, request, told, check=lambda: _check(people), offline=keep)


def _check_file(
    path: Path | None, voice: str | None, others: Sequence[str | None], *, pad: bool
) -> None:
    if path is None and voice is None:
        if pad:
            raise click.UsageError(
                "a file is padded, not a text: say --file or --voice"
            )
        return
    is_alone = path is None or voice is None
    if not is_alone or any(each is not None for each in others):
        raise click.UsageError("a file goes by itself: leave out -m and the others")


def _check_change(
    to: tuple[str, ...], correct: str | None, mentions: tuple[str, ...], wait: str
) -> None:
    if correct is not None and (not correct or len(to) > 1 or wait == "none"):
        raise click.UsageError("a correction is of one message, to one, and waited for")
    if mentions and (correct is not None or wait == "none"):
        raise click.UsageError("a mention is of a new message, and waited for")


def _send_file(settings: Settings, to: tuple[str, ...], file: "Line") -> int:
    request: Line = {
        "do": "send-file",
        "to": list(to),
        **file,
    }
    with watching(settings, "Sending") as watch:
        return run(settings, request, told, watch=watch, check=lambda: _check(to))


def _keep(account: "Account", request: "Line") -> "list[Line]":
    from xmpp_onion.agent.sending import queue_alone  # noqa: PLC0415 - see _check

    return queue_alone(account, request)


def _told_plan(line: "Line") -> str:
    """Return for whom a message would be encrypted, for a person."""
    text = f"{line['to']} would get it:"
    for name in ("devices", "left_out"):
        devices = line[name]
        for each in devices if isinstance(devices, list) else ():
            gets = "" if name == "devices" else ", LEFT OUT"
            text += f"\n  {each['jid']} {each['device']} ({each['trust']}{gets})"
    skipped = line["skipped"]
    if isinstance(skipped, list) and skipped:
        text += f"\n  cannot read it: {', '.join(map(str, skipped))}"
    return visible(text, continuation="")


def _check(people: Sequence[str]) -> None:
    """Refuse what is no address before Tor is asked for anything.

    A process that holds the account does so itself, and more quickly.
    """
    from xmpp_onion.account import parse_addressee  # noqa: PLC0415 - see above

    for each in people:
        parse_addressee(each)


def told(line: "Line") -> str:
    """Return how far a message has come, for a person."""
    if line.get("encrypted") is False:  # it never leaves so
        return visible(f"queued: {line['to']}, encrypted and sent at the next login")
    devices = "1 device" if line["devices"] == 1 else f"{line['devices']} devices"
    text = f"{line['state']}: {line['to']}, encrypted for {devices}"
    skipped = line["skipped"]
    if isinstance(skipped, list) and skipped:
        text += f"; left out: {', '.join(map(str, skipped))}"
    return visible(text)


def _read_text(message: str | None) -> str:
    if message is None or message == "-":
        if sys.stdin.isatty():
            raise click.UsageError("there is no text: use -m TEXT, or pipe it in")
        raw = sys.stdin.buffer.read(_TEXT_LIMIT_BYTES + 1)
        message = raw.decode(errors="replace").removesuffix("\n")
    # What argv cannot spell comes as lone surrogates, which nobody could read.
    message = message.encode(errors="replace").decode()
    if not message:
        raise click.UsageError("the text is empty: use -m TEXT, or pipe one in")
    if len(message.encode()) > _TEXT_LIMIT_BYTES:
        raise click.UsageError(
            f"the text is too long: a message has at most {_TEXT_LIMIT_BYTES} bytes"
        )
    return message
