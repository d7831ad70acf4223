"""What a bot needs of the world: a client has it, and so has a test without one."""

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from xmpp_onion.address import JID
from xmpp_onion.bot.memory import Notebook
from xmpp_onion.chat import Delivery, Message, Progress, Said
from xmpp_onion.files import PAGE_BYTES
from xmpp_onion.reader import Claim
from xmpp_onion.rooms import Room
from xmpp_onion.store import Write

__all__ = ["Line"]


class Line(Protocol):
    """An account that is there; see ``Client``."""

    @property
    def jid(self) -> JID:
        """Whose it is."""

    @property
    def notes(self) -> Notebook:
        """What is to be known after a restart."""

    def accepts(self, message: Said) -> bool:
        """Tell whether the policy accepts the device that it came from."""

    def claims(self) -> AsyncGenerator[Claim, None]:
        """Yield what happens; each has to be said to be handled."""

    def connections(self) -> AsyncIterator[None]:
        """Yield each time that the account is there, again."""

    @property
    def is_away(self) -> bool:
        """Whether the connection is known to be down, and is being made anew."""

    async def ping(self, timeout: float) -> None:
        """Ask the server something; raises if no answer comes in time."""

    async def queued(self) -> int:
        """Return how many stanzas wait for the server's ack."""

    async def queue(
        self,
        to: str,
        text: str,
        *,
        expires: timedelta | None = None,
        timeout: float | None = None,
        along: Write | None = None,
    ) -> Delivery:
        """Encrypt, and return when it is on the disk, with what goes along."""

    async def send(
        self, to: str, text: str, *, reply_to: Message | str = ""
    ) -> Delivery:
        """Encrypt, and return when the server has it."""

    async def send_file(
        self, to: str, path: Path | str, progress: Progress | None = None
    ) -> Delivery:
        """Encrypt and store a file, and send its link."""

    async def fetch(self, url: str, *, limit_bytes: int = PAGE_BYTES) -> bytes:
        """Fetch a page of an onion service."""

    async def correct(self, to: str, message_id: str, text: str) -> Delivery:
        """Say what a message of ours should have said."""

    async def react(self, to: str, message_id: str, *emojis: str) -> Delivery:
        """Say what we feel about a message."""

    async def retract(self, to: str, message_id: str) -> Delivery:
        """Ask all to forget a message of ours."""

    def room(self, jid: str) -> Room:
        """Return a room."""
