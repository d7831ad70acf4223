"""What an onion service of ours asks of those who come."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

__all__ = ["Guard"]

# Streams that one client may have open in one circuit. A client of ours has one for
# XMPP, and a few for files in circuits of their own; who has more is a flood, and
# Tor closes the circuit with all that is in it.
_STREAMS: Final = 32
# Introductions a second that are let through while there is no flood, and how many at
# once: what comes beyond waits in a queue that the one who did more work leads. A
# server with a thousand people sees fewer, even when all of them come back at once.
_WORK_RATE, _WORK_BURST = 100, 500


@dataclass(frozen=True, slots=True)
class Guard:
    """What an onion service asks of those who come; nothing by default.

    Attributes:
        clients: The public keys of those who are let in, in base32; None lets in
            everybody. What is published can be read with one of these keys alone.
        asks_for_work: Whether a flood is answered with a price in computation, that
            honest clients pay too and floods cannot (Tor's proof of work). A Tor
            before 0.4.8 cannot, and publishes without it.
        max_streams: Of one circuit; 0 sets no limit.
    """

    clients: frozenset[str] | None = None
    asks_for_work: bool = False
    max_streams: int = 0

    @classmethod
    def public(cls) -> Self:
        """Return what suits a door that everybody may come to."""
        return cls(asks_for_work=True, max_streams=_STREAMS)

    @classmethod
    def private(cls, clients: Iterable[str]) -> Self:
        """Return what suits a door for those who have a key.

        Work is not asked for: who has no key cannot come as far as that.

        Raises:
            ValueError: There is nobody; Tor refuses such a service.
        """
        admitted = frozenset(clients)
        if not admitted:
            raise ValueError("a private door needs one client at least")
        return cls(clients=admitted, max_streams=_STREAMS)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of ADD_ONION (control-spec)."""
        authorized = () if self.clients is None else ("V3Auth",)
        limited = ("MaxStreamsCloseCircuit",) if self.max_streams else ()
        return (*authorized, *limited)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The other arguments of ADD_ONION, but for what `work` has."""
        limit = (f"MaxStreams={self.max_streams}",) if self.max_streams else ()
        keys = (f"ClientAuthV3={key}" for key in sorted(self.clients or ()))
        return (*limit, *keys)

    @property
    def work(self) -> tuple[str, ...]:
        """The arguments of ADD_ONION that a Tor before 0.4.8 does not know."""
        if not self.asks_for_work:
            return ()
        return (
            "PoWDefensesEnabled=1",
            f"PoWQueueRate={_WORK_RATE}",
            f"PoWQueueBurst={_WORK_BURST}",
        )

    @property
    def torrc(self) -> tuple[tuple[str, str], ...]:
        """The same as lines of a torrc, but for the keys, which are files there.

        A limit of introductions, which ADD_ONION does not know, comes with the work:
        Tor's own numbers, 25 a second and 200 at once for each introduction point.
        """
        lines = [(f"HiddenService{name}", value) for name, value in self._options()]
        return tuple(lines)

    def _options(self) -> Iterator[tuple[str, str]]:
        if self.max_streams:
            yield "MaxStreams", str(self.max_streams)
            yield "MaxStreamsCloseCircuit", "1"
        for argument in self.work:
            name, _, value = argument.partition("=")
            yield name, value
        if self.asks_for_work:
            yield "EnableIntroDoSDefense", "1"
