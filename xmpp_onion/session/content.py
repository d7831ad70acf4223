"""What stands beside the text inside of an envelope, to and from a plain value.

The same elements outside of an envelope are anybody's, and are not read here.
Each is small, bounded and alone of its kind: two that contradict each other say
nothing. What is said of a file is in :mod:`.file_sharing`.

Source: XEP-0461 (replies), 0428 (what they quote), 0308 (corrections), 0444
(reactions), 0424 (retractions), 0184 (receipts), 0333 (markers), 0085 (chat
states), 0466 (how long it may be kept). Whom it mentions is in :mod:`.mentions`.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from xmpp_onion.chat import Content, TypingState, linked
from xmpp_onion.session.file_sharing import read_attachment, write_attachment
from xmpp_onion.session.mentions import read_mentions, write_mentions

__all__ = ["read_content", "write_content"]

REPLY: Final = "{urn:xmpp:reply:0}reply"
REPLACE: Final = "{urn:xmpp:message-correct:0}replace"
REACTIONS: Final = "{urn:xmpp:reactions:0}reactions"
REACTION: Final = "{urn:xmpp:reactions:0}reaction"
RETRACT: Final = "{urn:xmpp:message-retract:1}retract"
RECEIVED: Final = "{urn:xmpp:receipts}received"
REQUEST: Final = "{urn:xmpp:receipts}request"
MARKABLE: Final = "{urn:xmpp:chat-markers:0}markable"
FALLBACK: Final = "{urn:xmpp:fallback:0}fallback"
DISPLAYED: Final = "{urn:xmpp:chat-markers:0}displayed"
EPHEMERAL: Final = "{urn:xmpp:ephemeral:0}ephemeral"
CHAT_STATES: Final = "http://jabber.org/protocol/chatstates"
_FALLBACKS: Final = "urn:xmpp:fallback:0"
_REPLIES: Final = "urn:xmpp:reply:0"
_PLACE_DIGITS: Final = 9
# What is to be kept for longer is kept for so long: nobody means it, and times that
# no calendar has must not come of it.
_LONGEST: Final = timedelta(days=366)
_TYPING: Final = [(f"{{{CHAT_STATES}}}{state}", state) for state in TypingState]
# As everywhere: ids are chosen by their sender, ours have 32 characters.
_ID_LIMIT: Final = 1024
# More than anybody looks at; and the longest emoji that is drawn as one has about
# a dozen code points.
_EMOJI_LIMIT: Final = 20
_EMOJI_CHARACTERS: Final = 32


def write_content(content: Content) -> tuple[ET.Element, ...]:
    """Return the elements that say all of ``content`` except its text."""
    elements = [
        ET.Element(tag, {"id": target})
        for tag, target in (
            (REPLACE, content.corrects),
            (RETRACT, content.retracts),
            (RECEIVED, content.received),
            (DISPLAYED, content.displayed),
        )
        if target
    ]
    if content.reply_to:
        names = {"id": content.reply_to}
        elements.append(ET.Element(REPLY, names | _if_any(to=content.author)))
    if content.reacts_to:
        reactions = ET.Element(REACTIONS, {"id": content.reacts_to})
        for emoji in content.emojis:
            ET.SubElement(reactions, REACTION).text = emoji
        elements.append(reactions)
    if content.typing is not None:
        elements.append(ET.Element(f"{{{CHAT_STATES}}}{content.typing}"))
    if content.attachment is not None:
        elements.append(write_attachment(content.attachment))
    elements += write_mentions(content.mentions)
    if content.expires is not None:
        seconds = str(max(1, round(content.expires.total_seconds())))
        elements.append(ET.Element(EPHEMERAL, {"timer": seconds}))
    if content.asks:
        elements.append(ET.Element(REQUEST))
    if content.markable:
        elements.append(ET.Element(MARKABLE))
    return tuple(elements)


def read_content(text: str | None, payload: Sequence[ET.Element]) -> Content:
    """Return what was inside of an envelope. Whatever is malformed says nothing."""
    alone = _alone(payload)
    reply, reactions = alone.get(REPLY), alone.get(REACTIONS)
    reacts_to = _id(reactions)
    return Content(
        text=_without_quote(text, payload) if _id(reply) else text,
        reply_to=_id(reply),
        author="" if reply is None else reply.get("to", "")[:_ID_LIMIT],
        corrects=_id(alone.get(REPLACE)),
        reacts_to=reacts_to,
        emojis=_emojis(reactions) if reacts_to else (),
        retracts=_id(alone.get(RETRACT)),
        received=_id(alone.get(RECEIVED)),
        displayed=_id(alone.get(DISPLAYED)),
        typing=_typing(alone),
        asks=alone.get(REQUEST) is not None,
        markable=alone.get(MARKABLE) is not None,
        attachment=read_attachment(payload) or linked(text),
        mentions=read_mentions(payload),
        expires=_timer(alone.get(EPHEMERAL)),
    )


def _timer(element: ET.Element | None) -> timedelta | None:
    """Return how long something may be kept; no time is for ever.

    The sender's clock has no say: it is counted from when it came.
    """
    digits = "" if element is None else element.get("timer", "")
    if not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        return None
    is_long = len(digits) > _PLACE_DIGITS
    return _LONGEST if is_long else min(timedelta(seconds=int(digits)), _LONGEST)


def _alone(payload: Iterable[ET.Element]) -> dict[str, ET.Element | None]:
    """Return by its tag each element that is alone of its kind; None for others."""
    found: dict[str, ET.Element | None] = {}
    for element in payload:
        found[element.tag] = None if element.tag in found else element
    return found


def _id(element: ET.Element | None) -> str:
    target = "" if element is None else element.get("id", "")
    return target if len(target) <= _ID_LIMIT else ""


def _without_quote(text: str | None, payload: Iterable[ET.Element]) -> str | None:
    """Return the text without what repeats the message that it answers (XEP-0428).

    The range counts characters and has to lie inside of the text; what does not, or
    would leave nothing, takes nothing away: rather a quote too much than no text.
    """
    notes = [
        each for each in payload if each.tag == FALLBACK and each.get("for") == _REPLIES
    ]
    if text is None or len(notes) != 1:
        return text
    bodies = notes[0].findall(f"{{{_FALLBACKS}}}body")
    if len(bodies) != 1:
        return text
    start, end = (_place(bodies[0].get(name, "")) for name in ("start", "end"))
    if start is None or end is None or not start < end <= len(text):
        return text
    return text[:start] + text[end:] if end - start < len(text) else text


def _place(digits: str) -> int | None:
    """Return a place in a text; more digits than any text has places are none."""
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _PLACE_DIGITS
    return int(digits) if is_number else None


def _emojis(reactions: ET.Element | None) -> tuple[str, ...]:
    """Return different ones, in their order (XEP-0444, section 4)."""
    found = [] if reactions is None else reactions.findall(REACTION)
    texts = ((each.text or "").strip() for each in found[:_EMOJI_LIMIT])
    return tuple(
        dict.fromkeys(text for text in texts if 0 < len(text) <= _EMOJI_CHARACTERS)
    )


def _typing(alone: Mapping[str, ET.Element | None]) -> TypingState | None:
    found = (state for tag, state in _TYPING if alone.get(tag) is not None)
    return next(found, None)


def _if_any(**attributes: str) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value}
