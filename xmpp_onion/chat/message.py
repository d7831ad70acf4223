"""What somebody says, as values made from the decrypted part and nothing else."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from xmpp_onion.address import JID
from xmpp_onion.chat.attachment import Attachment
from xmpp_onion.chat.delivery import Delivery

__all__ = ["Answer", "Message", "OwnMessage", "Said"]

Answer: TypeAlias = Callable[[JID, str], Awaitable[Delivery]]
"""Sends somebody a text."""

# How much a device may be believed, of those that a policy accepts.
_RANKS: Final[Mapping[str, int]] = MappingProxyType({"tofu": 1, "verified": 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What comes with everything that was decrypted: who said it, and from where.

    Attributes:
        id: The sender's id for the message that carried it.
        sender: The account that wrote it, without a resource.
        to: Who it was for; our account, unless we wrote it ourselves elsewhere.
        room: The room it was said in; None for a conversation of two.
        encrypted: Always true: what was not encrypted never gets here.
        namespace: The OMEMO version that carried it.
        device: The sender's device.
        fingerprint: Of that device: 64 hex digits, the Curve25519 form, as other
            clients show it.
        trust: ``verified``, ``tofu``, ``undecided`` or ``distrusted``: what is known
            about that device when it is handed out.
        at: When the server got it, in UTC.
        expires_at: When it is to be forgotten, in UTC by our clock; our store forgets
            it then, read or not. None for never.
    """

    id: str
    sender: JID
    to: JID
    room: JID | None = None
    encrypted: bool = True
    namespace: str
    device: int
    fingerprint: str
    trust: str
    at: datetime
    expires_at: datetime | None = None

    def is_by_author_of(self, earlier: "Said") -> bool:
        """Tell whether the author of ``earlier`` says this, in the same place.

        The author is a key, and an account is what its server says it is. So this
        comes from the device that ``earlier`` came from, or from one of the same
        account that is trusted now at least as much as that one was: a device that
        nobody verified does not speak for one that somebody did. What comes from a
        device that is not accepted is nobody's.
        """
        place, before = (self.sender, self.room), (earlier.sender, earlier.room)
        if place != before or (self.room is None and self.to != earlier.to):
            return False
        rank = _RANKS.get(self.trust, 0)
        is_same_key = self.fingerprint == earlier.fingerprint
        return rank > 0 and (is_same_key or rank >= _RANKS.get(earlier.trust, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Said):
    """What somebody wrote to us, decrypted.

    Attributes:
        text: What was written.
        reply_to: The id of the message that it answers; empty for none. Its author
            chose it: it may name a message that you do not have.
        attachment: The file that came with it, if one did; ``text`` is its link then.
        mentions: The accounts that it speaks of or to, as its author says; no nick of
            a room makes one.
        mentions_me: Ours is one of them.
    """

    text: str = field(repr=False)
    reply_to: str = ""
    attachment: Attachment | None = None
    mentions: tuple[JID, ...] = ()
    mentions_me: bool = False
    _answer: Answer | None = field(default=None, repr=False, compare=False)

    async def reply(self, text: str) -> Delivery:
        """Send ``text``, encrypted, to where this message came from.

        Raises:
            RuntimeError: This message did not come from a client.
            EncryptionError: It cannot be encrypted; nothing was sent.
            NotAcknowledgedError: It is queued and goes out later.
        """
        if self._answer is None:
            raise RuntimeError(
                "only a message that a client received can be replied to"
            )
        return await self._answer(self.room or self.sender, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage(Said):
    """What we wrote ourselves, on another device of ours. Not to be answered.

    Attributes:
        text: What was written.
        reply_to: The id of the message that it answers; empty for none.
        attachment: The file that went with it, if one did.
        mentions: The accounts that it speaks of or to.
    """

    text: str = field(repr=False)
    reply_to: str = ""
    attachment: Attachment | None = None
    mentions: tuple[JID, ...] = ()
