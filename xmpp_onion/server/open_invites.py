"""The invites of a running server that nobody has used yet."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.doors import list_keys, revoke_key
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door

__all__ = ["OpenInvite", "list_invites", "revoke_invite"]

# The name is the beginning of the token's hash: it may be shown, the token may not.
_NAME = """
local hashes = require "util.hashes"
local function name_of(token) return hashes.sha256(token, true):sub(1, 8) end
local invites = require "core.modulemanager".get_module({onion}, "invites")
"""
# As many as fit into an answer of the console; who has more is told so.
_LIST: Final = (
    _NAME
    + """
local found = {{ }}
for token, invite in invites.pending_account_invites() do
	if #found == 1000 then error("there are more than a thousand", 0) end
	local data = invite.additional_data or {{ }}
	table.insert(found, {{
		name = name_of(token); kind = invite.type; jid = invite.jid;
		expires = invite.expires; room = data.room; door = data.door;
	}})
end
return require "util.json".encode(found)
"""
)
_REVOKE: Final = (
    _NAME
    + """
local store = require "core.storagemanager".open({onion}, "invite_token", "map")
for token, invite in invites.pending_account_invites() do
	if name_of(token) == {name} then
		local user = invite.type == "roster" and invite.jid:match("^(.-)@")
		if user then store:set(user, token, nil) end
		store:set(nil, token, nil)
		return "gone"
	end
end
return "unknown"
"""
)


@dataclass(frozen=True, slots=True)
class OpenInvite:
    """An invite that somebody may still use.

    Attributes:
        name: By which it is revoked; it says nothing of the token.
        kind: ``account``, or ``contact`` for an introduction.
        local: For whom the account is, empty for any name; or whose contact it makes.
        room: The address of the room that it comes with, or empty.
        expires: When it ends, in UTC.
        door: The name of the private door's key that went with it, or empty.
    """

    name: str
    kind: str
    local: str
    room: str
    expires: datetime
    door: str


async def list_invites(folder: Path) -> tuple[OpenInvite, ...]:
    """Return what is open, the next one to expire first.

    Raises:
        ServerError: The server does not run.
    """
    place = Folder(folder, find_unprivileged_user())
    lua = _LIST.format(onion=lua_string(place.read_onion()))
    found = json.loads(await ask(place.data, lua))
    # An empty table of Lua is an object, whichever was meant.
    rows = [_read(row) for row in found] if isinstance(found, list) else []
    return tuple(sorted(rows, key=lambda row: (row.expires, row.name)))


async def revoke_invite(folder: Path, name: str) -> OpenInvite:
    """Take an invite back, with the key for the private door that went with it.

    Raises:
        ServerError: The server does not run, or none of that name is open.
    """
    place = Folder(folder, find_unprivileged_user())
    for invite in await list_invites(folder):
        if invite.name == name:
            lua = _REVOKE.format(
                onion=lua_string(place.read_onion()), name=lua_string(name)
            )
            if await ask(place.data, lua) == "gone":
                _take_key(place, invite.door)
                return invite
    raise ServerError(
        f"no invite {name!a} is open",
        why="it was used, has expired, or never was",
        fix=f"See which are: xmpp-onion server invite {folder} --list",
    )


def _take_key(place: Folder, guest: str) -> None:
    if not guest or place.read_options().door is Door.PUBLIC:
        return
    if guest in {each.name for each in list_keys(place.path)}:
        revoke_key(place.path, guest)


def _read(row: dict[str, object]) -> OpenInvite:
    local, _, domain = str(row["jid"]).rpartition("@")
    return OpenInvite(
        name=str(row["name"]),
        kind="contact" if row["kind"] == "roster" else "account",
        local=local if domain else "",
        room=str(row.get("room", "")),
        expires=datetime.fromtimestamp(int(float(str(row["expires"]))), UTC),
        door=str(row.get("door", "")),
    )
