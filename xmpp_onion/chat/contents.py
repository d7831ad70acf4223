"""What is said about an earlier message. Nothing of it is applied by itself.

Each names its target by the id that its author gave it. What corrects or retracts
counts only for a message of the same author, by key and account, never by nick: ask
:meth:`Change.is_for`. An id may name a message that you do not have, or one of somebody
else: then it means nothing.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from xmpp_onion.address import JID
from xmpp_onion.chat.attachment import Attachment
from xmpp_onion.chat.message import Said

__all__ = [
    "Change",
    "Content",
    "Correction",
    "Reaction",
    "Retraction",
    "Typing",
    "TypingState",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Said):
    """Something that only the author of an earlier message may say about it.

    Attributes:
        target: The id of that message.
    """

    target: str

    def is_for(self, message: Said) -> bool:
        """Tell whether ``message`` is the target, of the same author and place.

        An id alone proves nothing: everybody who got a message knows it. Who counts
        as its author, :meth:`Said.is_by_author_of` says.
        """
        return self.target == message.id and self.is_by_author_of(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Change):
    """The author wants an earlier message of theirs to say this (XEP-0308).

    Attributes:
        text: What it should say.
    """

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction(Said):
    """The sender's reactions to a message are these from now on (XEP-0444).

    Attributes:
        target: The id of the message.
        emojis: All of them; empty takes back what was there.
    """

    target: str
    emojis: tuple[str, ...] = field(repr=False)

    def replaces(self, earlier: "Reaction") -> bool:
        """Tell whether it takes the place of an earlier one, of the same author.

        What is no such one is of somebody else, and stays beside it.
        """
        return self.target == earlier.target and self.is_by_author_of(earlier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction(Change):
    """The author wants an earlier message of theirs to be forgotten (XEP-0424)."""


class TypingState(StrEnum):
    """What somebody is doing in a conversation (XEP-0085)."""

    ACTIVE = "active"
    COMPOSING = "composing"
    PAUSED = "paused"
    INACTIVE = "inactive"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing(Said):
    """Somebody writes, or has stopped to.

    Attributes:
        state: What they do.
    """

    state: TypingState


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that one message can say, before it is encrypted or after.

    Attributes:
        text: For people; None if there is none.
        reply_to: The id of the message that the text answers.
        author: Who wrote that one, or the one that was shown; a bare JID.
        corrects: The id of the message that the text takes the place of.
        reacts_to: The id of the message that ``emojis`` are for.
        emojis: All reactions to it.
        retracts: The id of the message that should be forgotten.
        received: The id of a message that has arrived.
        displayed: The id of a message that was shown.
        typing: What the sender is doing.
        asks: The sender wants to know when it arrives.
        markable: The sender would like to know when it was shown.
        attachment: The file that ``text`` is the link to.
        mentions: Whom the text speaks of or to, bare JIDs.
        expires: How long it may be kept, counted from when it was sent or came; None
            for ever.
        id: The id that it is sent under; empty draws one.
    """

    text: str | None = field(default=None, repr=False)
    reply_to: str = ""
    author: str = ""
    corrects: str = ""
    reacts_to: str = ""
    emojis: tuple[str, ...] = field(default=(), repr=False)
    retracts: str = ""
    received: str = ""
    displayed: str = ""
    typing: TypingState | None = None
    asks: bool = False
    markable: bool = False
    attachment: Attachment | None = None
    mentions: tuple[JID, ...] = ()
    expires: timedelta | None = None
    id: str = ""
