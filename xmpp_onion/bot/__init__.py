"""Encrypted bots: a name, a trust policy, and functions that answer."""

from xmpp_onion.bot.app import Bot
from xmpp_onion.bot.arguments import within
from xmpp_onion.bot.clock import Clock
from xmpp_onion.bot.context import Context
from xmpp_onion.bot.conversation import FSM, State, StatesGroup
from xmpp_onion.bot.feed import Entry, read_feed
from xmpp_onion.bot.filters import (
    Filter,
    affiliation,
    direct,
    from_,
    has_file,
    mentioned,
    regex,
    role,
    room,
    trusted,
)
from xmpp_onion.bot.handlers import Depends, Handler
from xmpp_onion.bot.health import Health
from xmpp_onion.bot.line import Line
from xmpp_onion.bot.router import Next, Router
from xmpp_onion.bot.scaffold import make_project
from xmpp_onion.bot.texts import Texts
from xmpp_onion.bot.untrusted import Doubt, Untrusted
from xmpp_onion.bot.webhook import receive_posts

__all__ = [
    "FSM",
    "Bot",
    "Clock",
    "Context",
    "Depends",
    "Doubt",
    "Entry",
    "Filter",
    "Handler",
    "Health",
    "Line",
    "Next",
    "Router",
    "State",
    "StatesGroup",
    "Texts",
    "Untrusted",
    "affiliation",
    "direct",
    "from_",
    "has_file",
    "make_project",
    "mentioned",
    "read_feed",
    "receive_posts",
    "regex",
    "role",
    "room",
    "trusted",
    "within",
]
