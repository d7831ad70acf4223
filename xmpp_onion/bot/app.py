"""Bot: an account, a trust policy, and the handlers that answer.

Handlers see only what was decrypted and comes from a device that the policy
accepts; what they return goes back encrypted. There is no other way out.
"""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from xmpp_onion.agent.desk import hold
from xmpp_onion.agent.failures import explain
from xmpp_onion.agent.memory import forbid_core_dumps
from xmpp_onion.agent.profile import load_account
from xmpp_onion.agent.signals import until_terminated
from xmpp_onion.chat import Message
from xmpp_onion.client import Client
from xmpp_onion.e2ee import Trust
from xmpp_onion.errors import EncryptionError, XmppOnionError

__all__ = ["Bot", "Handler"]

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Message], Awaitable[str | None]]
"""Gets a message; a string that it returns is sent back, None is silence."""

_H = TypeVar("_H", bound=Handler)


class Bot:
    """An encrypted bot.

    ::

        bot = Bot("echo", trust=Trust.PINNED)

        @bot.message
        async def echo(msg: Message) -> str:
            return msg.text

        bot.run()

    Args:
        name: The profile whose account it uses; make one with
            ``xmpp-onion --profile NAME account add``.
        trust: Whose orders it takes. There is no default: the choice is yours.
    """

    def __init__(self, name: str, *, trust: Trust) -> None:
        self.name = name
        self.trust = trust
        self._handlers: list[Handler] = []

    def __repr__(self) -> str:
        return f"<Bot {self.name!r} trust={self.trust}>"

    def message(self, handler: _H) -> _H:
        """Register a handler of messages. All that are registered run, in order."""
        self._handlers.append(handler)
        return handler

    async def serve(self, client: Client) -> None:
        """Answer what ``client`` receives until cancelled.

        For a program of your own with a client of your own; ``run`` makes both.
        """
        async for message in client.messages():
            if not client.accepts(message):
                log.info(
                    "ignored a message of %s: its device is %s",
                    message.sender.short,
                    message.trust,
                )
                continue
            for handler in self._handlers:
                await self._answer(client, handler, message)

    async def _answer(self, client: Client, handler: Handler, message: Message) -> None:
        try:
            answer = await handler(message)
            if answer is not None:
                # However long the network is away: the answer is made only once.
                await client.queue(message.room or message.sender, answer, timeout=None)
        except EncryptionError as error:
            log.warning("could not answer %s: %s", message.sender.short, error.what)
        except Exception as error:  # noqa: BLE001 - one message must not end the bot
            # Where it failed, and not its text: that may quote the message.
            log.error(  # noqa: TRY400 - a traceback would print the text
                "a handler failed; nothing was answered\n%s%s",
                "".join(traceback.format_tb(error.__traceback__)),
                type(error).__name__,
            )

    def run(self, *, data_dir: Path | None = None) -> None:
        """Log in and answer until SIGINT or SIGTERM; then end cleanly.

        Uses the Tor at ``$XMPP_ONION_SOCKS`` if set, else a running one, else one
        of its own. A lost network is waited out. Ends the process with the exit
        codes of the command line.

        Args:
            data_dir: Where profiles live; ``$XMPP_ONION_DATA_DIR`` or the user's
                data folder by default.
        """
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("xmpp_onion").setLevel(logging.INFO)
        forbid_core_dumps()
        try:
            asyncio.run(self._run(data_dir))
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except (XmppOnionError, OSError) as failure:
            error = explain(failure)
            sys.stderr.write(f"{self.name}: {error}\n")
            raise SystemExit(error.exit_code) from None

    async def _run(self, data_dir: Path | None) -> None:
        account = load_account(self.name, data_dir)
        async with (
            until_terminated(),
            hold(
                account,
                socks=os.environ.get("XMPP_ONION_SOCKS"),
                control=os.environ.get("XMPP_ONION_CONTROL"),
                trust=self.trust,
                login_timeout=None,
            ) as client,
        ):
            sys.stderr.write(
                f"{self.name}: ready as {client.jid}\n"
                f"{self.name}: fingerprint {client.fingerprint}\n"
            )
            await self.serve(client)
