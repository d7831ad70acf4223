"""Mistakes of ours in reading what comes: what one may end, and how often.

Nothing here does I/O. Three things may break, and what follows differs:

- *One stanza.* Where the next begins is known, so it is set aside and the stream goes
  on. A message is told as one that cannot be read; anything else is as if it had not
  come. Whoever can have a stanza sent to us could end us otherwise.
- *What a room, or our contact list, says of itself.* To pass it over could leave a
  room taken for private that is not. The stream ends and begins anew, and with it
  all that is known of rooms and contacts is read anew.
- *The stream or the login.* Nobody knows where in it we are: it ends. The stanza in
  which it broke is not asked for a third time (`Archive.break_off`).

A mistake that ends each connection would be a login without end. After so many in a
row, with no connection between that ended otherwise, the session gives up.
"""

import logging
from typing import Final

from xmpp_onion.errors import ReaderFaultError, SessionError, XmppOnionError
from xmpp_onion.one_error import innermost, place_of

__all__ = ["NO_FAULTS", "Faults"]

log = logging.getLogger(__name__)

# Four stanzas that break the stream may stand one behind another in an archive: each
# is passed the second time. The pauses between logins grow meanwhile.
_MOST: Final = 10

NO_FAULTS: Final = (XmppOnionError, OSError, MemoryError)
"""What is no mistake of a reader: a net passes it on, and the server has all still."""


class Faults:
    """Counts them, and logs where each was made; what broke us stays out of the log.

    Attributes:
        set_aside: Stanzas that were.
        in_a_row: Connections that ended by a mistake, since one ended otherwise.
    """

    def __init__(self) -> None:
        self.set_aside = 0
        self.in_a_row = 0

    def note_stanza(self, fault: Exception) -> None:
        """Note that a stanza is set aside."""
        self.set_aside += 1
        log.error("a stanza broke its reader and was set aside (%s)", place_of(fault))

    def note_end(self, fault: Exception) -> SessionError:
        """Note that a connection ended; return what to tell of it."""
        self.in_a_row += 1
        place = place_of(innermost(fault))
        log.error("a mistake of ours ended the connection (%s)", place)
        if self.in_a_row < _MOST:
            return SessionError(
                "the connection was ended by a mistake of ours",
                why=place,
                fix="It is tried again by itself; please report it.",
            )
        return ReaderFaultError(
            "no connection can be kept, for a mistake of ours",
            why=f"{place}, {self.in_a_row} times in a row",
            fix="This is a bug. Run it again with -vv, and report what is printed.",
        )

    def forget(self) -> None:
        """Note that a connection came up, and ended otherwise."""
        self.in_a_row = 0
