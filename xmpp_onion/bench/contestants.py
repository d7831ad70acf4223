"""Who can be measured on this machine."""

import shutil
from importlib.util import find_spec
from typing import Final

from xmpp_onion.bench.peers import Enter, ours
from xmpp_onion.bench.profanity import profanity
from xmpp_onion.bench.raw import raw

__all__ = ["CONTESTANTS", "HOW_TO_INSTALL", "find_contestants"]

CONTESTANTS = ("bare", "profanity", "raw", "ours")
"""All names: the bare libraries, a client, hand-written stanzas, and this library."""

HOW_TO_INSTALL: Final = {
    "bare": "Install slixmpp-omemo beside this package: pip install slixmpp-omemo",
    "profanity": "Install it: apt-get install profanity",
}
"""For those who need not be here."""


def find_contestants() -> dict[str, Enter]:
    """Return who is here, by name: ours last.

    ``bare`` needs slixmpp-omemo, which we do not depend on, and ``profanity`` the
    program. ``raw`` needs a server with quick logins.
    """
    found: dict[str, Enter] = {}
    if find_spec("slixmpp_omemo") is not None:
        from xmpp_onion.bench.bare import bare  # noqa: PLC0415 - where it is installed

        found["bare"] = bare
    if shutil.which("profanity") is not None:
        found["profanity"] = profanity
    return {**found, "raw": raw, "ours": ours}
