"""Which messages a handler gets: predicates that combine with ``&``, ``|`` and ``~``.

None of them looks at a nick. Who wrote is the account whose device decrypted it.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from xmpp_onion.address import JID
from xmpp_onion.chat import Affiliation

if TYPE_CHECKING:
    from xmpp_onion.bot.context import Context

__all__ = [
    "Filter",
    "affiliation",
    "direct",
    "from_",
    "has_file",
    "mentioned",
    "regex",
    "role",
    "room",
    "trusted",
]

# A pattern is the bot's own, but what it searches is a stranger's: so much of it.
_SEARCHED = 10_000


class Filter:
    """A predicate on what came.

    Args:
        check: Tells whether it is meant.
        name: How it is shown.
    """

    def __init__(self, check: Callable[["Context"], bool], name: str) -> None:
        self._check = check
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __call__(self, ctx: "Context") -> bool:
        """Tell whether a message is meant."""
        return self._check(ctx)

    def __and__(self, other: "Filter") -> "Filter":
        return Filter(lambda ctx: self(ctx) and other(ctx), f"({self!r} & {other!r})")

    def __or__(self, other: "Filter") -> "Filter":
        return Filter(lambda ctx: self(ctx) or other(ctx), f"({self!r} | {other!r})")

    def __invert__(self) -> "Filter":
        return Filter(lambda ctx: not self(ctx), f"~{self!r}")


direct = Filter(lambda ctx: ctx.message.room is None, "direct")
"""Said to the bot alone."""

room = Filter(lambda ctx: ctx.message.room is not None, "room")
"""Said in a room."""

trusted = Filter(lambda ctx: ctx.message.trust == "verified", "trusted")
"""From a device that a person verified, or whose fingerprint is pinned."""

has_file = Filter(lambda ctx: ctx.message.attachment is not None, "has_file")
"""A file came with it."""


mentioned = Filter(lambda ctx: ctx.message.mentions_me, "mentioned")
"""It speaks of or to the bot: the sender's program says so, inside of the envelope."""


def from_(*people: str) -> Filter:
    """Only of these accounts.

    Raises:
        InvalidJIDError: One is no address.
    """
    named = frozenset(JID(each).bare for each in people)
    shown = ", ".join(each.short for each in sorted(named))
    return Filter(lambda ctx: ctx.message.sender.bare in named, f"from_({shown})")


def regex(pattern: str | re.Pattern[str]) -> Filter:
    """Only where the pattern is found in the text; ``ctx.found`` is the match."""
    compiled = re.compile(pattern)

    def search(ctx: "Context") -> bool:
        ctx.found = compiled.search(ctx.message.text[:_SEARCHED])
        return ctx.found is not None

    return Filter(search, f"regex({compiled.pattern!a})")


def role(name: str) -> Filter:
    """Only of accounts that have this role of the bot: ``Bot(…, roles=…)``."""
    return Filter(lambda ctx: ctx.has_role(name), f"role({name!a})")


def affiliation(*which: Affiliation) -> Filter:
    """Only of those who are this to the room where they say it."""
    shown = ", ".join(which)
    return Filter(lambda ctx: ctx.affiliation in which, f"affiliation({shown})")
