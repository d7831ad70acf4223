"""Accounts on a running server: by invite, and by the operator's hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from xmpp_onion.address import JID, Invite, OnionAddress
from xmpp_onion.errors import InvalidJIDError, ServerError
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.doors import give_key
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door, Engine

__all__ = ["DEFAULT_LIFETIME", "add_account", "create_invite"]

DEFAULT_LIFETIME = timedelta(days=3)

_CREATE_INVITE = """
local invites = require "core.modulemanager".get_module({onion}, "invites")
local invite, reason = invites.create_account({local}, {{ }}, {seconds})
if not invite then error(reason, 0) end
return invite.token.." "..invite.expires
"""
_ADD_ACCOUNT = """
local usermanager = require "core.usermanager"
if usermanager.user_exists({local}, {onion}) then error("it exists already", 0) end
local made, reason = usermanager.create_user({local}, {password}, {onion})
if not made then error(reason, 0) end
return "made"
"""


async def create_invite(
    folder: Path, local: str = "", *, lifetime: timedelta = DEFAULT_LIFETIME
) -> Invite:
    """Return an invite that makes one account, once, until it expires.

    The server in ``folder`` has to run; another process may hold it. Behind a private
    door the invite carries a key of its own, that is revoked by the name it is for.

    Args:
        folder: The server's folder.
        local: The name that the account should have; empty lets the guest choose.
        lifetime: How long the invite is good for, in whole seconds.

    Raises:
        ServerError: The server does not run, or refused.
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
    lua = _CREATE_INVITE.format(
        onion=lua_string(onion),
        local=lua_string(local) if local else "nil",
        seconds=_seconds(lifetime),
    )
    token, _, expires = (await ask(place.data, lua)).partition(" ")
    door = None
    if place.read_options().door is not Door.PUBLIC:
        _, admission = give_key(folder, local)
        door = admission.address, admission.key
    return Invite.build(
        onion,
        token,
        local=local,
        cert_sha256=place.read_certificate_fingerprint(),
        expires=datetime.fromtimestamp(int(float(expires)), UTC),
        door=door,
    )


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
