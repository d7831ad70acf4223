"""When to ask for the next object: before the last one is through, and not long before.

Asked for too late, the way stands empty for as long as a question takes; too early, a
slow circuit holds objects that a faster one would have fetched.
"""

from typing import Final

__all__ = ["Tempo"]

# Circuits become slower while they are used: a question may take twice as long as on
# one that is at rest.
_MARGIN: Final = 2.0


class Tempo:
    """How long a question takes on a connection, and how fast bytes come.

    All times are seconds of one clock that only goes forward.
    """

    def __init__(self) -> None:
        self._asked: float | None = None
        self._latency = 0.0
        self._first: float | None = None
        self._came = 0

    def asked(self, now: float) -> None:
        """Note a question while nothing else was on its way."""
        self._asked = now

    def answered(self, now: float) -> None:
        """Note the beginning of an answer."""
        if self._asked is not None:
            self._latency, self._asked = now - self._asked, None
        if self._first is None:
            self._first = now

    def came(self, size: int) -> None:
        """Note how many bytes came of an answer."""
        self._came += size

    def is_time(self, left: int, now: float) -> bool:
        """Tell whether ``left`` bytes are through before an answer could begin.

        Not before as long as a question takes: until then nothing is known of how fast
        they come.
        """
        if self._first is None or now - self._first < self._latency:
            return False
        margin = _MARGIN * self._latency
        return left * (now - self._first) <= margin * self._came
