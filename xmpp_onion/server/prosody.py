"""The text of Prosody's configuration: the one copy in prosody-config, filled in."""

import re
from collections.abc import Mapping
from pathlib import Path

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError

__all__ = ["find_templates", "render"]

_PLACEHOLDER = re.compile(r"@([A-Z0-9_]+)@")


def render(template: str, *, onion: OnionAddress, c2s_port: int, http_port: int) -> str:
    """Return ``prosody.cfg.lua`` for one onion service.

    Args:
        template: The text of ``prosody-config/prosody.cfg.lua``.
        onion: The name that people's addresses end in.
        c2s_port: Where Prosody waits for XMPP clients, on 127.0.0.1.
        http_port: Where it takes and serves uploaded files, on 127.0.0.1.

    Raises:
        ServerError: The template asks for a name that nobody fills in.
    """
    names = {
        "ONION": str(onion),
        "C2S_PORT": str(c2s_port),
        "HTTP_PORT": str(http_port),
    }
    return _PLACEHOLDER.sub(lambda found: _look_up(names, found.group(1)), template)


def _look_up(names: Mapping[str, str], name: str) -> str:
    try:
        return names[name]
    except KeyError:
        raise ServerError(
            "the template of Prosody's configuration cannot be filled in",
            why=f"nothing is known about @{name}@",
            fix="Reinstall xmpp-onion; its files do not belong together.",
        ) from None


def find_templates(package: Path) -> Path:
    """Return the folder ``prosody-config``.

    An installed package carries it; in a checkout there is one copy only, at the
    top of the repository.

    Args:
        package: The folder of ``xmpp_onion.server``.

    Raises:
        ServerError: It is in neither place.
    """
    for folder in (package / "prosody-config", package.parents[1] / "prosody-config"):
        if (folder / "prosody.cfg.lua").is_file():
            return folder
    raise ServerError(
        "the template of Prosody's configuration is missing",
        why=f"there is no prosody-config in {package} or at the top of a checkout",
        fix="Reinstall xmpp-onion.",
    )
