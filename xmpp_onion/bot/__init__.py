"""Encrypted bots: a name, a trust policy, and functions that answer."""

from xmpp_onion.bot.app import Bot, Handler

__all__ = ["Bot", "Handler"]
