"""Who is called what on a screen: short where that is one person, else the address."""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from xmpp_onion.address import JID
from xmpp_onion.chat import RoomState
from xmpp_onion.chat.nick import doubt_of, look
from xmpp_onion.cli.output import visible

if TYPE_CHECKING:
    from xmpp_onion.client import Client

__all__ = ["SELF", "Names"]

SELF: Final = "you"
"""What the person at the screen is called there."""

# People who are kept in mind, so that one who comes later is told apart from them:
# more than anybody talks with, and little memory.
_REMEMBERED: Final = 2_000


class Names:
    """What people are called on one screen.

    A local part alone proves nothing: every server has its own. So it stands for an
    account only where nobody else who is known here, as a member of a room that we
    are in or as somebody who said something, has one that looks like it.

    Args:
        client: Whose screen it is.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._seen: OrderedDict[JID, str] = OrderedDict()
        self._alike: dict[str, set[JID]] = {}
        self._members: dict[JID, tuple[Collection[JID], dict[str, set[JID]]]] = {}

    def of(self, jid: JID) -> str:
        """Return what somebody is called: the local part, or the whole address.

        The whole address also of who would be called as we are, and of a local part
        that seems to be made to deceive.
        """
        jid = jid.bare
        self.know([jid])
        local, alike = jid.local, look(jid.local)
        if alike in {"", look(SELF)} or doubt_of(local) or self._others(jid, alike):
            return visible(jid)
        return visible(local)

    def know(self, people: Iterable[JID]) -> None:
        """Keep in mind whom there is, so that nobody else is called like them."""
        for jid in people:
            if jid not in self._seen:
                self._seen[jid] = look(jid.local)
                self._alike.setdefault(self._seen[jid], set()).add(jid)
            self._seen.move_to_end(jid)
        while len(self._seen) > _REMEMBERED:
            forgotten, alike = self._seen.popitem(last=False)
            self._alike[alike].discard(forgotten)
            if not self._alike[alike]:
                del self._alike[alike]

    def _others(self, jid: JID, alike: str) -> bool:
        own = self._client.jid.bare
        if jid != own and alike == look(own.local):
            return True
        if self._alike.get(alike, set()) - {jid}:
            return True
        return any(
            bool(self._looks(room).get(alike, set()) - {jid})
            for room in self._client.rooms.all()
        )

    def _looks(self, room: RoomState) -> dict[str, set[JID]]:
        """Return the members of a room by what their names look like."""
        known = self._members.get(room.jid)
        if known is None or known[0] != room.members:
            looks: dict[str, set[JID]] = {}
            for jid in room.members:
                looks.setdefault(look(jid.local), set()).add(jid)
            known = self._members[room.jid] = (room.members, looks)
        return known[1]
