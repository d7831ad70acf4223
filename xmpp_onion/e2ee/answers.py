"""Which messages that want an answer get one."""

from omemo.session_manager import SessionManager

from xmpp_onion.e2ee.trust import Device

__all__ = ["Answers"]

# Every message that follows on a key exchange, or on as many as this, wants an
# answer. One in as many turns the ratchet as well.
_EVERY = SessionManager.STALENESS_MAGIC_NUMBER
_MAX_SESSIONS = 10_000


class Answers:
    """Tells which answers are due: the first of each session, and one in 53.

    To a device that the policy does not accept, any answer would only tell that we
    are online.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int, bytes], int] = {}

    def is_due(self, sender: Device, begun: bytes, *, is_accepted: bool) -> bool:
        """Tell whether a message that wants an answer gets one.

        Args:
            sender: What sent it.
            begun: What tells the session that it begins from others.
            is_accepted: Whether the policy accepts the sender.
        """
        session = (str(sender.jid), sender.device_id, begun)
        count = self._counts.pop(session, 0)
        self._counts[session] = count + 1
        if len(self._counts) > _MAX_SESSIONS:
            del self._counts[next(iter(self._counts))]
        return is_accepted and count % _EVERY == 0

    def clear(self) -> None:
        """Take the next answer of every session for due."""
        self._counts.clear()
