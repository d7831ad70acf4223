"""Whether the configuration of a server is the one that was tested, and where not."""

import difflib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from xmpp_onion.address import OnionAddress
from xmpp_onion.errors import ServerError
from xmpp_onion.server.folder import Folder
from xmpp_onion.server.options import Engine, Options
from xmpp_onion.server.prosody import describe, find_templates, render

__all__ = ["check_configuration"]

# Of a file that differs: enough to know what somebody changed.
_LINES_SHOWN = 8
_LETTERS_SHOWN = 100


def check_configuration(
    place: Folder, onion: OnionAddress, options: Options
) -> str | ServerError:
    """Compare limits and all else that the engine reads with the one copy."""
    wanted = dict(_wanted(place, onion, options))
    for path, text in wanted.items():
        try:
            found = path.read_text("utf-8")
        except (OSError, ValueError):
            why = f"{path} cannot be read"
        else:
            if found == text:
                continue
            why = f"{path} says something else:\n{_difference(text, found)}"
        return ServerError(
            "the configuration is not the one that was tested",
            why=why,
            fix="The next start writes it anew: xmpp-onion server down "
            f"{place.path}; xmpp-onion server up {place.path}",
        )
    return f"limits and modules are as shipped ({len(wanted)} files)"


def _wanted(
    place: Folder, onion: OnionAddress, options: Options
) -> Iterator[tuple[Path, str]]:
    package, names = Path(__file__).parent, describe(onion, options)
    if options.engine is Engine.EJABBERD:
        templates = find_templates(package, "ejabberd-config")
        for name in ("ejabberd.yml", "inetrc", "start"):
            text = (templates / name).read_text("utf-8")
            yield place.ejabberd / name, render(text, names)
        return
    templates = find_templates(package)
    text = (templates / "prosody.cfg.lua").read_text("utf-8")
    yield place.config_file, render(text, names)
    for module in sorted((templates / "modules").glob("*.lua")):
        yield place.prosody / "modules" / module.name, module.read_text("utf-8")


def _difference(wanted: str, found: str) -> str:
    """Return the first lines that differ: ``-`` as shipped, ``+`` as it is."""
    lines = difflib.unified_diff(
        wanted.splitlines(), found.splitlines(), n=0, lineterm=""
    )
    changed = (
        line[:_LETTERS_SHOWN]
        for line in lines
        if line[0] in "-+" and line not in {"--- ", "+++ "}
    )
    shown = list(islice(changed, _LINES_SHOWN + 1))
    if len(shown) > _LINES_SHOWN:
        shown[-1] = "…"
    return "\n".join(shown)
