"""A bot as a program: its settings, its log, its account, and how it ends."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xmpp_onion import configuration as settings
from xmpp_onion.account import Account
from xmpp_onion.address import JID
from xmpp_onion.agent.desk import hold
from xmpp_onion.agent.failures import explain
from xmpp_onion.agent.memory import forbid_core_dumps
from xmpp_onion.agent.profile import check_folders, load_account
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.agent.watchdog import watched
from xmpp_onion.configuration import Configuration
from xmpp_onion.e2ee import Trust
from xmpp_onion.logs import Format, write_logs
from xmpp_onion.seal import Kind, Secret

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["Program"]

log = logging.getLogger(__name__)

_LEVELS = logging.getLevelNamesMapping()


@dataclass(frozen=True, slots=True)
class Program:
    """What runs a bot, whoever starts it.

    Attributes:
        name: Of the bot: its profile.
        trust: Whose orders it takes.
        pins: Fingerprints that it believes besides those of its account, by JID.
        loggers: Loggers that are its own.
        serve: Answers until it is cancelled.
    """

    name: str
    trust: Trust
    pins: Mapping[JID, frozenset[str]]
    loggers: frozenset[str]
    serve: Callable[["Client"], Awaitable[None]]

    def run(self, data_dir: Path | None = None, style: Format | None = None) -> None:
        """Log in and answer until SIGINT or SIGTERM; see ``Bot.run``."""
        forbid_core_dumps()
        try:
            found = Configuration.load(
                flags={"profile": self.name, "data_dir": data_dir}
            )
            account = self._load_account(found)
            self.write_log(found, style)
            asyncio.run(self._run(found, account))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except Exception as failure:
            error = explain(failure)
            log.debug("it was raised here", exc_info=failure)
            sys.stderr.write(f"{self.name}: {error}\n")
            raise SystemExit(error.exit_code) from None

    def write_log(self, found: Configuration, style: Format | None = None) -> None:
        """Write what is logged to stderr, redacted.

        Args:
            found: Its settings.
            style: Instead of theirs.
        """
        kept: Format = "json" if found[settings.LOG_FORMAT] == "json" else "text"
        level = _LEVELS[found[settings.LOG_LEVEL].upper()]
        write_logs(style or kept, level=level, own=self.loggers)

    def adopt(self, account: Account) -> Account:
        """Return the account as the bot uses it: with its pins."""
        pins = {
            jid: account.pins.get(jid, frozenset()) | self.pins.get(jid, frozenset())
            for jid in {*account.pins, *self.pins}
        }
        return replace(account, pins=pins)

    def _load_account(self, found: Configuration) -> Account:
        data_dir = found[settings.DATA_DIR]
        kind = check_folders(self.name, data_dir)
        secret = None if kind is None else _find_secret(kind, found)
        return load_account(self.name, data_dir, secret=secret)

    async def _run(self, found: Configuration, account: Account) -> None:
        async with (
            until_terminated(),
            hold(
                self.adopt(account),
                socks=found[settings.SOCKS],
                control=found[settings.CONTROL],
                trust=self.trust,
                login_timeout=None,
            ) as client,
        ):
            sys.stderr.write(
                f"{self.name}: ready as {client.jid}\n"
                f"{self.name}: fingerprint {client.fingerprint}\n"
            )
            async with watched(client):
                await self.serve(client)


def _find_secret(kind: Kind, found: Configuration) -> Secret | None:
    """Return what the file with settings has to open the account with."""
    named: Path | str | None = found[settings.KEY_FILE]
    if kind is Kind.PASSPHRASE:
        named = found[settings.PASSPHRASE_FILE]
    return None if named is None else Secret.read(kind, Path(named))
