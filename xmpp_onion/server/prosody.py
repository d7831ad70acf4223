"""The files of a server: the one copy in prosody-config, filled in."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server.options import Former, Options

__all__ = ["describe", "describe_unit", "find_templates", "render"]

_PLACEHOLDER = re.compile(r"@([A-Z0-9_]+)@")
_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_UNIT_WORD = re.compile(r"[\w%+,./:=@~-]+", re.ASCII)


def render(template: str, names: Mapping[str, str]) -> str:
    """Return a file of ``prosody-config`` with its placeholders filled in.

    Args:
        template: The text of the file, with names between ``@`` signs.
        names: What is put in place of each; see `describe`.

    Raises:
        ServerError: The template asks for a name that nobody fills in.
    """
    return _PLACEHOLDER.sub(lambda found: _look_up(names, found.group(1)), template)


def describe(onion: OnionAddress, options: Options) -> dict[str, str]:
    """Return what the placeholders of ``prosody-config`` stand for.

    Args:
        onion: The name that people's addresses end in.
        options: What the server is to be. Each of its ports ``c2s`` is
            ``@C2S_PORT@``, and so on; ``@PEERS@`` and ``@FORMER@`` are the insides of
            Lua tables.
    """
    ports = options.ports._asdict()
    return {
        "ONION": str(onion),
        "DOOR": options.door,
        "FEDERATION": options.partners,
        "ARCHIVE": options.archive,
        "STAMP_BITS": str(options.stamp_bits),
        "SOCKS_HOST": options.socks.host,
        "SOCKS_PORT": str(options.socks.port),
        "FORMER": " ".join(_describe_former(each) for each in options.former),
        "PEERS": " ".join(f'"{peer}";' for peer in sorted(options.peers)),
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }


def _describe_former(former: Former) -> str:
    """Return a former name as a Lua table, of texts that have no quotes in them."""
    if not _BASE64.fullmatch(former.document):
        raise ServerError(
            "the configuration of the server cannot be written",
            why=f"what it should say under {former.onion.short} is damaged",
            fix="Restore server.json from a backup.",
        )
    return (
        f'{{ name = "{former.onion}"; document = "{former.document}"; '
        f"deadline = {int(former.until.timestamp())} }};"
    )


def describe_unit(folder: Path, user: str) -> dict[str, str]:
    """Return what the placeholders of ``systemd/xmpp-onion.service`` stand for.

    Args:
        folder: The server's folder.
        user: Whose it is.
    """
    return {
        "DIR": _quote_for_systemd(str(folder)),
        "USER": user,
        "PROGRAM": f"{_quote_for_systemd(sys.executable)} -m xmpp_onion",
    }


def _quote_for_systemd(word: str) -> str:
    """Return one word for a unit file, where ``%`` is special too (systemd.syntax)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if _UNIT_WORD.fullmatch(escaped) else f'"{escaped}"'


def _look_up(names: Mapping[str, str], name: str) -> str:
    try:
        return names[name]
    except KeyError:
        raise ServerError(
            "a file of prosody-config cannot be filled in",
            why=f"nothing is known about @{name}@",
            fix="Reinstall xmpp-onion; its files do not belong together.",
        ) from None


def find_templates(package: Path, name: str = "prosody-config") -> Path:
    """Return the folder ``prosody-config``, or that of another engine.

    An installed package carries it; in a checkout there is one copy only, at the
    top of the repository.

    Args:
        package: The folder of ``xmpp_onion.server``.
        name: The folder's name.

    Raises:
        ServerError: It is in neither place.
    """
    for folder in (package / name, package.parents[1] / name):
        if folder.is_dir():
            return folder
    raise ServerError(
        "the template of a server's configuration is missing",
        why=f"there is no {name} in {package} or at the top of a checkout",
        fix="Reinstall xmpp-onion.",
    )
