"""The page of an invite, on the onion, for somebody with a browser and no client.

It is there for who knows its address, while the invite is open; it has no script, and
loads nothing.
"""

import base64
import hashlib
import secrets
from html import escape
from pathlib import Path
from typing import Final

from xmpp_onion.address import Invite
from xmpp_onion.errors import ServerError
from xmpp_onion.server.console import ask, lua_string
from xmpp_onion.server.folder import Folder, find_unprivileged_user
from xmpp_onion.server.options import Door

__all__ = ["publish_page"]

_STYLE: Final = (
    "body{max-width:40em;margin:2em auto;padding:0 1em;font:1em/1.5 sans-serif;"
    "color:#111;background:#fff}code{word-break:break-all}svg{display:block}"
)
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Invitation</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head>
<body><h1>Invitation</h1>
<p>It makes one account on a private chat server, which only Tor reaches. It is good
once{until}. Whoever has this page can use it: do not pass it on.</p>
<p><a href="{uri}" rel="noreferrer"><code>{uri}</code></a></p>
{picture}
<h2>How to use it</h2>
<ol><li>Install Tor and the program xmpp-onion, from whom you have this address.</li>
<li>Type, with the line above between the quotes:<br>
<code>xmpp-onion account add --invite '…'</code></li></ol>
</body></html>
"""
_PUBLISH: Final = """
local store = require "core.storagemanager".open({onion}, "invite_pages", "map")
local kept, why = store:set(nil, {name}, {{
	token = {token}; policy = {policy}; html = {html}
}})
if not kept then error(why, 0) end
return "there"
"""
_NAME_BYTES: Final = 24


async def publish_page(folder: Path, invite: Invite, picture: str) -> str:
    """Put the page of an invite on the onion, and return its address.

    It ends with the invite.

    Args:
        folder: The server's folder; the server has to run.
        invite: Of this server, and open.
        picture: The QR code, as an SVG element.

    Raises:
        ServerError: The server does not run, or a browser could not find it.
    """
    place = Folder(folder, find_unprivileged_user())
    onion = place.read_onion()
    if place.read_options().door is Door.PRIVATE:
        raise ServerError(
            "there can be no page",
            why="the server has a private door only, and who has no key yet cannot "
            "find it",
            fix="Send the invite itself.",
        )
    name = secrets.token_urlsafe(_NAME_BYTES)
    lua = _PUBLISH.format(
        onion=lua_string(onion),
        name=lua_string(name),
        token=lua_string(invite.token),
        policy=lua_string(_policy()),
        html=lua_string(_write(invite, picture)),
    )
    await ask(place.data, lua)
    return f"http://{onion}/invite/{name}"


def _write(invite: Invite, picture: str) -> str:
    until = f", until {invite.expires:%Y-%m-%d %H:%M} UTC" if invite.expires else ""
    return _PAGE.format(style=_STYLE, uri=escape(invite), until=until, picture=picture)


def _policy() -> str:
    """Return what a browser may load: this one style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
