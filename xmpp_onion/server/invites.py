"""Accounts on a running server: by invite, and by the operator's hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from xmpp_onion.address import JID, Introduction, Invite, OnionAddress
from xmpp_onion.errors import InvalidJIDError, ServerError
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.doors import give_key, revoke_key
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door, Engine

__all__ = ["DEFAULT_LIFETIME", "add_account", "create_introduction", "create_invite"]

DEFAULT_LIFETIME = timedelta(days=3)
"""How long an invite is good where nobody says how long."""

_CREATE_INVITE = """
local invites = require "core.modulemanager".get_module({onion}, "invites")
local component, room = prosody.hosts["muc."..{onion}], {room}
if room and not (component and component.modules.muc.get_room_from_jid(room)) then
	error("there is no such room", 0)
end
local name, usermanager = {local}, require "core.usermanager"
if name and usermanager.user_exists(name, {onion}) then
	error("it has an account of that name, and an invite makes a new one", 0)
end
local data = {{ room = room; door = {door} }}
local invite, reason = invites.create_account(name, data, {seconds})
if not invite then error(reason, 0) end
return invite.token.." "..invite.expires
"""
# Its entry among those that make accounts says that it makes none: mod_invites of
# Prosody 0.12.3 raises an error where there is no such entry.
_CREATE_INTRODUCTION = """
local usermanager = require "core.usermanager"
if not usermanager.user_exists({local}, {onion}) then
	error("it has no account of that name", 0)
end
local invites = require "core.modulemanager".get_module({onion}, "invites")
local invite, reason = invites.create_contact({local}, false, {{ }}, {seconds})
if not invite then error(reason, 0) end
local store = require "core.storagemanager".open({onion}, "invite_token", "map")
local kept, why = store:set(nil, invite.token, invite)
if not kept then error(why, 0) end
return invite.token
"""
_ADD_ACCOUNT = """
local usermanager = require "core.usermanager"
if usermanager.user_exists({local}, {onion}) then error("it exists already", 0) end
local made, reason = usermanager.create_user({local}, {password}, {onion})
if not made then error(reason, 0) end
return "made"
"""

_COMPARE = "Compare the name; what stands before the @ of an address is one."


async def create_invite(
    folder: Path,
    local: str = "",
    *,
    lifetime: timedelta = DEFAULT_LIFETIME,
    room: str = "",
) -> Invite:
    """Return an invite that makes one account, once, until it expires.

    The server in ``folder`` has to run; another process may hold it. Behind a private
    door the invite carries a key of its own, that is revoked by the name it is for.

    Args:
        folder: The server's folder.
        local: The name that the account should have; empty lets the guest choose.
        lifetime: How long the invite is good for, in whole seconds.
        room: The name of a room of this server; the account becomes a member, and
            gets the room's invitation.

    Raises:
        ServerError: The server does not run, or refused; it has no such room, or has
            an account of that name.
        InvalidJIDError: No account can have that name.
    """
    place = Folder(folder, find_unprivileged_user())
    onion = place.read_onion()
    if place.read_options().engine is Engine.EJABBERD:
        raise ServerError(
            "this server makes no invites",
            why="ejabberd has none",
            fix="Make the account: ejabberd-config/README.md says how.",
        )
    local = _prepare(local, onion).local if local else ""
    seconds = _seconds(lifetime)
    door, guest = None, ""
    if place.read_options().door is not Door.PUBLIC:
        given, admission = give_key(folder, local)
        door, guest = (admission.address, admission.key), given.name
    lua = _CREATE_INVITE.format(
        onion=lua_string(onion),
        local=_lua(local),
        room=_lua(f"{_room_name(room, onion)}@muc.{onion}" if room else ""),
        door=_lua(guest),
        seconds=seconds,
    )
    try:
        token, _, expires = (await ask(place.data, lua, fix=_COMPARE)).partition(" ")
    except ServerError:
        if guest:
            revoke_key(folder, guest)
        raise
    return Invite.build(
        onion,
        token,
        local=local,
        cert_sha256=place.read_certificate_fingerprint(),
        expires=datetime.fromtimestamp(int(float(expires)), UTC),
        door=door,
    )


async def create_introduction(
    folder: Path, local: str, *, lifetime: timedelta = DEFAULT_LIFETIME
) -> Introduction:
    """Return what makes somebody, of any server, a contact of one of our people.

    It is good once, until it expires, and asks nobody: who shows it sees that person
    and is seen. The server in ``folder`` has to run.

    Args:
        folder: The server's folder.
        local: Whose contact it makes.
        lifetime: How long it is good for, in whole seconds.

    Raises:
        ServerError: The server does not run, or nobody here has that name.
        InvalidJIDError: No account can have that name.
    """
    place = Folder(folder, find_unprivileged_user())
    onion = place.read_onion()
    jid = _prepare(local, onion)
    lua = _CREATE_INTRODUCTION.format(
        onion=lua_string(onion), local=lua_string(jid.local), seconds=_seconds(lifetime)
    )
    return Introduction.build(jid, await ask(place.data, lua, fix=_COMPARE))


async def add_account(folder: Path, local: str, password: str) -> JID:
    """Make an account on the running server in ``folder``.

    The password travels through the server's own socket, and no process has it
    among its arguments.

    Raises:
        ServerError: The server does not run, or the account exists.
        InvalidJIDError: No account can have that name.
    """
    place = Folder(folder, find_unprivileged_user())
    onion = place.read_onion()
    jid = _prepare(local, onion)
    lua = _ADD_ACCOUNT.format(
        onion=lua_string(onion),
        local=lua_string(jid.local),
        password=lua_string(password),
    )
    await ask(place.data, lua)
    return jid


def _lua(text: str) -> str:
    return lua_string(text) if text else "nil"


def _room_name(room: str, onion: OnionAddress) -> str:
    return _prepare(room.removesuffix(f"@muc.{onion}"), onion).local


def _prepare(local: str, onion: OnionAddress) -> JID:
    jid = JID(f"{local}@{onion}")
    if not jid.local or jid.resource or jid.domain != onion:
        raise InvalidJIDError(
            "no account can have that name",
            why="it holds an @ or a slash, or nothing",
            fix="Give the part before the @ only, such as alice.",
        )
    return jid


def _seconds(lifetime: timedelta) -> int:
    seconds = int(lifetime.total_seconds())
    if seconds < 1:
        raise ServerError(
            "the invite would be useless",
            why="it would have expired already",
            fix="Give it a lifetime of a second or more.",
        )
    return seconds
