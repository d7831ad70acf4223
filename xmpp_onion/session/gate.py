"""Who may ask this device for something, and whose word counts about what.

slixmpp answers everybody's questions and takes anybody's events. Here a question
is answered to our own server and account, and to contacts who may see us, as often
as a person could ask; to strangers nothing is said, not even that we are there.

Source: RFC 6120, section 8.1.2.1 (who a stanza without ``from`` is of); RFC 6121,
section 2.1.6; XEP-0223, version 1.1.1 (own nodes only from the own account).
"""

import logging
import time
import xml.etree.ElementTree as ET
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from xmpp_onion.address import JID
from xmpp_onion.errors import InvalidJIDError
from xmpp_onion.session.guards import Outline
from xmpp_onion.session.roster import is_push, read_push

__all__ = ["Bucket", "Gate", "Verdict"]

log = logging.getLogger(__name__)

_IQ: Final = "{jabber:client}iq"
_MESSAGE: Final = "{jabber:client}message"
_PRESENCE: Final = "{jabber:client}presence"
_EVENT: Final = "{http://jabber.org/protocol/pubsub#event}"
_BLOCKING: Final = "{urn:xmpp:blocking}"
# Nodes that everybody has one of; all others are of our own account.
_NODES_OF_ALL: Final = frozenset(
    {"eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices"}
)
# Questions of one contact: a client that logs in asks five or so; then one in two
# seconds, which is what a ping may take.
_BURST: Final = 20
_PER_SECOND: Final = 0.5
# Contacts whose questions are counted; each takes about 200 bytes.
_COUNTED: Final = 1000


class Verdict(Enum):
    """What becomes of a stanza at the gate."""

    PASS = auto()
    """slixmpp may see it."""
    DROP = auto()
    """Nobody sees it, and nothing is said."""
    REFUSE = auto()
    """Nobody sees it; ``service-unavailable`` is said."""
    CONFIRM = auto()
    """It was taken note of elsewhere; say that."""


class Bucket:
    """So many at once, and then so many a second, for each of some names.

    Args:
        burst: At once.
        per_second: Later.
        names: Of how many the count is kept; who is forgotten starts anew.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        burst: float,
        per_second: float,
        *,
        names: int = _COUNTED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._names = names
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, name: str) -> bool:
        """Take one for ``name``, if one is left."""
        now = self._clock()
        left, at = self._left.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        is_left = left >= 1
        self._left[name] = (left - is_left, now)
        if len(self._left) > self._names:
            self._left.popitem(last=False)
        return is_left

    def pause(self, name: str) -> float:
        """Return the seconds until one is left for ``name``."""
        left, at = self._left.get(name, (self._burst, self._clock()))
        left += (self._clock() - at) * self._per_second
        return max(0.0, (1 - left) / self._per_second)


class Gate:
    """The rules for one account.

    Args:
        own: The account.
        clock: Seconds that only go forward.

    Attributes:
        friends: Bare JIDs of the contacts who may see us; whoever knows them sets it.
    """

    def __init__(
        self, own: JID, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.friends: frozenset[JID] = frozenset()
        self._own = own.bare
        self._questions = Bucket(_BURST, _PER_SECOND, clock=clock)

    def judge(self, element: ET.Element) -> Verdict:
        """Return what is to become of a stanza that came."""
        if isinstance(element, Outline):
            return Verdict.DROP
        if element.tag == _IQ and element.get("type") in {"get", "set"}:
            return self._judge_question(element)
        if element.tag == _MESSAGE and not self._may_tell(element):
            log.info("an event that its sender may not tell was dropped")
            return Verdict.DROP
        if element.tag == _PRESENCE and not self._is_near(element.get("from")):
            # slixmpp keeps every resource that it ever saw, of everybody.
            return Verdict.DROP
        return Verdict.PASS

    def _judge_question(self, element: ET.Element) -> Verdict:
        if not self._may_ask(element.get("from")):
            return Verdict.DROP
        if is_push(element):
            known = read_push(element, self._own) is not None
            return Verdict.CONFIRM if known else Verdict.REFUSE
        if element.find(f"{_BLOCKING}*") is not None:
            is_own = element.get("from", self._own) == self._own
            return Verdict.CONFIRM if is_own else Verdict.REFUSE
        return Verdict.PASS

    def _may_ask(self, sender: str | None) -> bool:
        jid = self._read(sender)
        if jid is None or jid.bare not in self.friends:
            return jid is not None and self._is_own(jid)
        return self._questions.take(jid.bare)

    def _is_near(self, sender: str | None) -> bool:
        jid = self._read(sender)
        return jid is not None and (self._is_own(jid) or jid.bare in self.friends)

    def _read(self, sender: str | None) -> JID | None:
        """Return who sent something; without a sender it is our own account."""
        try:
            return self._own if sender is None else JID(sender)
        except InvalidJIDError:
            return None

    def _is_own(self, jid: JID) -> bool:
        is_server = not jid.local and jid.domain == self._own.domain
        return is_server or jid.bare == self._own

    def _may_tell(self, element: ET.Element) -> bool:
        """Tell whether the events in a message are of nodes that its sender has."""
        event = element.find(f"{_EVENT}event")
        if event is None or element.get("from", self._own) == self._own:
            return True
        return all(child.get("node") in _NODES_OF_ALL for child in event)
