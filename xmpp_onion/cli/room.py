"""``xmpp-onion room``: rooms that nobody but their members can read."""

import click

from xmpp_onion.account import parse_recipient
from xmpp_onion.chat import Line
from xmpp_onion.cli import sent, timer
from xmpp_onion.cli.output import quoted, visible
from xmpp_onion.cli.reach import run
from xmpp_onion.cli.settings import Settings
from xmpp_onion.rooms import check_nick, check_room

__all__ = ["command", "told"]


@click.group("room")
def command() -> None:
    """Rooms: list, create, join, leave, invite, kick, members.

    A ROOM is name@muc.….onion; a bare name is a room of your own server.
    """


command.add_command(sent.shown_command)

_timeout = click.option(
    "--timeout", metavar="S", type=click.FloatRange(min=0, min_open=True),
    help="Seconds for the connection and the answer; 60, and 180 for a login.",
)  # fmt: skip
_nick = click.option(
    "--nick", metavar="NAME", default="", callback=lambda *told: check_nick(told[-1]),
    help="Your name there; by default that of your account.",
)  # fmt: skip


def _checked(_context: click.Context, _parameter: click.Parameter, room: str) -> str:
    """Refuse what can be no room before Tor is asked for anything."""
    return check_room(room)


_room = click.argument("room", callback=_checked)
_people = click.argument("people", metavar="JID...", nargs=-1, required=True)


@command.command("list")
@click.option(
    "--bookmarks", is_flag=True,
    help="Those of your other devices, as your server has them, instead.",
)  # fmt: skip
@_timeout
@click.pass_obj
def _list(settings: Settings, timeout: float | None, *, bookmarks: bool) -> int:
    """List the rooms that you are in."""
    nothing = "You are in none. Make one: xmpp-onion room create NAME"
    request: Line = {"do": "rooms", "bookmarks": bookmarks}
    return _do(settings, request, timeout, nothing=nothing)


@command.command("create")
@_room
@_nick
@_timeout
@click.pass_obj
def _create(settings: Settings, room: str, nick: str, timeout: float | None) -> int:
    """Make ROOM, for members only.

    Nobody is anonymous there; it lasts, is archived and not listed. All of that is
    read back. A server that does not make it so is told about, and the room is gone
    again.
    """
    return _do(settings, {"do": "create-room", "room": room, "nick": nick}, timeout)


@command.command("join")
@_room
@_nick
@_timeout
@click.pass_obj
def _join(settings: Settings, room: str, nick: str, timeout: float | None) -> int:
    """Enter ROOM, and stay in it until you leave."""
    return _do(settings, {"do": "join-room", "room": room, "nick": nick}, timeout)


@command.command("leave")
@_room
@click.option("--destroy", is_flag=True, help="Make an end of it for everybody.")
@_timeout
@click.pass_obj
def _leave(
    settings: Settings, room: str, timeout: float | None, *, destroy: bool
) -> int:
    """Go out of ROOM. You stay a member, and are written to, until you are none."""
    request: Line = {"do": "leave-room", "room": room, "destroy": destroy}
    return _do(settings, request, timeout)


@command.command("invite")
@_room
@_people
@click.option(
    "--through-room", is_flag=True,
    help="Leave it to the room, where its owners let members invite.",
)  # fmt: skip
@_timeout
@click.pass_obj
def _invite(
    settings: Settings,
    room: str,
    people: tuple[str, ...],
    timeout: float | None,
    *,
    through_room: bool,
) -> int:
    """Make each JID a member of ROOM, and ask them to come."""
    request = _with_people("invite-to-room", room, people)
    return _do(settings, {**request, "through_room": through_room}, timeout)


@command.command("kick")
@_room
@_people
@click.option("--ban", is_flag=True, help="For good: nobody invites them by mistake.")
@_timeout
@click.pass_obj
def _kick(
    settings: Settings,
    room: str,
    people: tuple[str, ...],
    timeout: float | None,
    *,
    ban: bool,
) -> int:
    """Throw each JID out of ROOM.

    They are no members any more, and read nothing from now on.
    """
    request = _with_people("kick-from-room", room, people)
    return _do(settings, {**request, "ban": ban}, timeout)


@command.command("grant")
@_room
@click.argument("role", type=click.Choice(["member", "admin", "owner"]))
@_people
@_timeout
@click.pass_obj
def _grant(
    settings: Settings,
    room: str,
    role: str,
    *,
    people: tuple[str, ...],
    timeout: float | None,
) -> int:
    """Make each JID a member, an admin or an owner of ROOM. Owners may.

    Nobody is asked to come; that does `invite`.
    """
    request = _with_people("grant-in-room", room, people)
    return _do(settings, {**request, "affiliation": role}, timeout)


_in_clear = click.option(
    "--in-clear", is_flag=True,
    help="It is known that servers on the way read this text.",
)  # fmt: skip


@command.command("moderate")
@_room
@click.argument("author", metavar="JID")
@click.argument("message_id", metavar="ID")
@click.option("--reason", metavar="TEXT", default="", help="Why; with --in-clear.")
@_in_clear
@_timeout
@click.pass_obj
def _moderate(
    settings: Settings,
    room: str,
    author: str,
    message_id: str,
    *,
    timeout: float | None,
    reason: str,
    in_clear: bool,
) -> int:
    """Take the message ID of JID out of ROOM. Owners and admins may.

    Whoever comes later does not get it; who has read it still has it. `listen --json`
    shows ids.
    """
    if reason and not in_clear:
        raise click.UsageError("a reason cannot be encrypted: leave it out, or say "
                               "--in-clear")  # fmt: skip
    request: Line = {"do": "moderate-in-room", "room": room, "id": message_id}
    author = parse_recipient(author)
    more = {"author": author, "reason": reason, "in_clear": in_clear}
    return _do(settings, {**request, **more}, timeout)


@command.command("subject")
@_room
@click.argument("text")
@_in_clear
@_timeout
@click.pass_obj
def _subject(
    settings: Settings, room: str, text: str, timeout: float | None, *, in_clear: bool
) -> int:
    """Set the subject of ROOM to TEXT, which nobody can encrypt.

    Every server on the way reads it, and every member to come; so it needs --in-clear.
    """
    if not in_clear:
        raise click.UsageError("a subject cannot be encrypted: say it in a message, or "
                               "say --in-clear")  # fmt: skip
    request: Line = {"do": "room-subject", "room": room, "subject": text}
    return _do(settings, {**request, "in_clear": True}, timeout)


@command.command("members")
@_room
@_timeout
@click.pass_obj
def _members(settings: Settings, room: str, timeout: float | None) -> int:
    """List who is a member of ROOM, there or not.

    By their accounts: names in a room prove nothing.
    """
    return _do(settings, {"do": "room-members", "room": room}, timeout)


@command.command("strict")
@_room
@click.argument("switch", type=click.Choice(["on", "off"]))
@_timeout
@click.pass_obj
def _strict(settings: Settings, room: str, switch: str, timeout: float | None) -> int:
    """Send nothing to ROOM before you accepted each member.

    Or do, with `off`. Who is a member now is accepted.
    """
    request: Line = {"do": "strict-room", "room": room, "on": switch == "on"}
    return _do(settings, request, timeout)


@command.command("accept")
@_room
@_people
@_timeout
@click.pass_obj
def _accept(
    settings: Settings, room: str, people: tuple[str, ...], timeout: float | None
) -> int:
    """Accept each JID as a member of a strict ROOM."""
    return _do(settings, _with_people("accept-in-room", room, people), timeout)


@command.command("timer")
@_room
@timer.argument
@click.pass_obj
def _timer(settings: Settings, room: str, time: int | str | None) -> int:
    """Set, or show, how long what you say in ROOM may be kept.

    Such as 1d. Your store and those of clients that heed it erase it then. The
    others set their own. Needs no connection.
    """
    return timer.turn(settings, room, time)


@command.command("invitations")
@click.option("--refuse", metavar="ROOM", help="Forget the one into ROOM.")
@click.option("--refuse-all", is_flag=True, help="Forget all of them.")
@_timeout
@click.pass_obj
def _invitations(
    settings: Settings, refuse: str | None, timeout: float | None, *, refuse_all: bool
) -> int:
    """List who asks you to come where, contacts first.

    100 of contacts and 20 of others are kept, and how many more came. Nothing is
    joined by itself, and nobody is told that you refused.
    """
    if refuse and refuse_all:
        raise click.UsageError("Name one ROOM, or say --refuse-all.")
    room = check_room(refuse) if refuse else ""
    request: Line = {"do": "room-invitations", "room": room, "everybody": refuse_all}
    return _do(settings, request, timeout, nothing="Nobody asks.")


def _with_people(do: str, room: str, people: tuple[str, ...]) -> Line:
    return {
        "do": do,
        "room": room,
        "people": [parse_recipient(each) for each in people],
    }


def _do(
    settings: Settings,
    request: Line,
    timeout: float | None = None,
    *,
    nothing: str = "",
) -> int:
    if timeout is not None:
        request = {**request, "timeout": timeout}
    return run(settings, request, told, nothing=nothing)


def told(line: Line) -> str:
    """Return what a person reads about a line; others' words are made harmless."""
    match line["event"]:
        case "room":
            text = _told_room(line)
        case "member":
            nick = f", here as {quoted(str(line['nick']))}" if line.get("nick") else ""
            nick += f" ({line['doubt']})" if line.get("doubt") else ""
            doubt = ", not accepted yet" if line.get("accepted") is False else ""
            state = "no member any more" if line["state"] == "none" else line["state"]
            text = f"{line['jid']}: {state}{nick}{doubt}"
        case "bookmark":
            text = f"{line['room']}: {'in' if line['joined'] else 'left'}"
        case "room-invited":
            doubt = f"; {line['reason']}" if line.get("reason") else ""
            text = f"{line['room']}: {line['jid']} invites you, since {line['at']}"
            text += doubt
        case "invitations":
            text = f"{line['count']} invitations wait: xmpp-onion room invitations"
        case "more-invitations":
            text = f"and {line['count']} more, for which there was no room"
        case _ if line["state"] == "renamed":
            text = f"{line['room']}: it has another subject now"
        case _:
            text = f"{line['room']}: {line['state']}"
    return visible(text)


def _told_room(line: Line) -> str:
    members = "1 member" if line["members"] == 1 else f"{line['members']} members"
    text = f"{line['room']}: {members}, {line['here']} here"
    if not line["joined"]:
        text += "; you are not in yet"
    elif not line["private"]:
        text += f"; nothing can be sent: {line['reason']}"
    if isinstance(line["unaccepted"], list) and line["unaccepted"]:
        text += f"; waits until you accept {', '.join(line['unaccepted'])}"
    return text
