"""How long what is said in a conversation is kept, and how such times are written."""

from datetime import UTC, datetime, timedelta

from xmpp_onion.store.database import Database

__all__ = ["TimerTable", "read_time", "write_time"]


def write_time(time: datetime | None) -> str:
    """Return a time so that texts have the order of times; empty for None."""
    if time is None:
        return ""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def read_time(text: str) -> datetime | None:
    """Return what :func:`write_time` wrote."""
    return datetime.fromisoformat(text) if text else None


class TimerTable:
    """The timers of conversations; one without has none.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, jid: str) -> timedelta | None:
        """Return how long what we say there may be kept; None for ever."""
        rows = await self._database.fetch(
            "SELECT seconds FROM timers WHERE jid = ?", (jid,)
        )
        return timedelta(seconds=rows[0]["seconds"]) if rows else None

    async def store(self, jid: str, timer: timedelta | None) -> None:
        """Set it; None takes it away.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        if timer is None:
            await self._database.execute("DELETE FROM timers WHERE jid = ?", (jid,))
        else:
            await self._database.execute(
                "INSERT OR REPLACE INTO timers (jid, seconds) VALUES (?, ?)",
                (jid, round(timer.total_seconds())),
            )
