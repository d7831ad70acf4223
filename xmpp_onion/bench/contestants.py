"""Who can be measured on this machine."""

from importlib.util import find_spec

from xmpp_onion.bench.peers import Enter, ours
from xmpp_onion.bench.raw import raw

__all__ = ["CONTESTANTS", "find_contestants"]

CONTESTANTS = ("bare", "raw", "ours")
"""All names: the bare libraries, hand-written stanzas, and this library."""


def find_contestants() -> dict[str, Enter]:
    """Return who is here, by name: ours last.

    ``bare`` needs slixmpp-omemo, which we do not depend on. ``raw`` needs a server
    with quick logins.
    """
    found: dict[str, Enter] = {}
    if find_spec("slixmpp_omemo") is not None:
        from xmpp_onion.bench.bare import bare  # noqa: PLC0415 - where it is installed

        found["bare"] = bare
    return {**found, "raw": raw, "ours": ours}
