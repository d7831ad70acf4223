"""What is said behind a login, before the server has let us in.

It costs no round trip of its own: requests, and messages that wait. If the login
fails, nothing of it was done, and it is said again with the next one. If it came
through unheard, a request was answered to nobody, and a message has arrived twice,
which its receiver notices by its id: so nothing else goes this way.

Source: XEP-0198, section 5: what is written behind ``<resume/>`` is the next that
the server counts.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from xmpp_onion.session.client_xmpp import SM, OnionClient

__all__ = ["Hope"]

# What the first cells of a circuit carry without waiting for its flow control, which
# begins at 500 cells of 498 bytes; with room for what is said before it.
_LIMIT_BYTES: Final = 64 * 1024
# Of an earlier stream: what does no harm where that is gone. A room would refuse a
# message of somebody who is not in it any more, and what sets something may be old.
_HARMLESS: Final = re.compile(
    r"<(message(?=[^>]*\stype=(['\"])chat\2)|iq(?=[^>]*\stype=(['\"])get\3))[\s>]"
)
_REFUSABLE: Final = frozenset({"{jabber:client}message", "{jabber:client}iq"})


class Hope:
    """The stanzas that one login takes along.

    Args:
        client: What goes online; stanzas wait there.

    Attributes:
        said: How many went along, the oldest that wait.
    """

    def __init__(self, client: OnionClient) -> None:
        self._client = client
        self._refusals = 0
        self.said = 0

    def say(self, *, resuming: bool, asks: bool) -> str:
        """Return what goes along, with a question for its ack.

        Args:
            resuming: It is said behind the question for an earlier stream.
            asks: The question for the ack does no harm where no stream is.
        """
        outgoing = self._client.outgoing
        if resuming and outgoing.written > self.said:
            return ""  # where the server's count stands is not known
        texts = list(_first(outgoing.unacknowledged(), only_harmless=resuming))
        self.said = len(texts)
        outgoing.mark_written(self.said)
        question = f"<r xmlns='{SM}'/>" if texts and asks else ""
        return "".join(texts) + question

    def fail(self) -> None:
        """Note that the server did nothing of it, and will say so."""
        self._client.outgoing.mark_written(0)
        self._refusals += self.said
        self.said = 0

    def takes_refusal(self, answer: ET.Element) -> bool:
        """Tell whether an element only says that something of it was not done."""
        is_refusal = answer.tag in _REFUSABLE and answer.get("type") == "error"
        if not is_refusal or not self._refusals:
            return False
        self._refusals -= 1
        return True


def _first(texts: Iterator[str], *, only_harmless: bool) -> Iterator[str]:
    """Yield what may go along, in its order, up to the first that may not."""
    size_bytes = 0
    for text in texts:
        size_bytes += len(text.encode())
        is_harmless = not only_harmless or _HARMLESS.match(text)
        if size_bytes > _LIMIT_BYTES or not is_harmless:
            return
        yield text
