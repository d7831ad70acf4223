"""Which of the library's empty messages are worth sending."""

import omemo
from oldmemo import oldmemo
from omemo.session_manager import SessionManager
from twomemo import twomemo

from xmpp_onion.e2ee.effect import Effect, SendEmpty
from xmpp_onion.e2ee.trust import Device

__all__ = ["Answers"]

# In a burst the library wants to answer every message that follows on a key
# exchange, or on as many as this. One in as many turns the ratchet as well.
_EVERY = SessionManager.STALENESS_MAGIC_NUMBER
_MAX_SESSIONS = 10_000
_EXCHANGES = (oldmemo.KeyExchangeImpl, twomemo.KeyExchangeImpl)


class Answers:
    """Drop the empty messages that are not due.

    One that is dropped is a gap in the ratchet, which the other side bridges. To
    a device that the policy does not accept, any answer would only tell that we
    are online.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int, bytes], int] = {}

    def thin_out(
        self,
        effects: list[Effect],
        message: omemo.Message,
        sender: Device,
        *,
        own_device_id: int,
        is_accepted: bool,
    ) -> None:
        """Take what is not due out of ``effects``.

        Args:
            effects: What decrypting a message wanted from the network.
            message: That message.
            sender: What sent it.
            own_device_id: Of this device.
            is_accepted: Whether the policy accepts the sender.
        """
        empties = [effect for effect in effects if isinstance(effect, SendEmpty)]
        if not empties:
            return
        begun = b"".join(
            exchange.header.ephemeral_key
            for key, exchange in message.keys
            if key.device_id == own_device_id and isinstance(exchange, _EXCHANGES)
        )
        session = (str(sender.jid), sender.device_id, begun)
        count = self._counts.pop(session, 0)
        self._counts[session] = count + 1
        if len(self._counts) > _MAX_SESSIONS:
            del self._counts[next(iter(self._counts))]
        if count % _EVERY or not is_accepted:
            effects[:] = [e for e in effects if not isinstance(e, SendEmpty)]

    def clear(self) -> None:
        """Take the next answer of every session for due."""
        self._counts.clear()
