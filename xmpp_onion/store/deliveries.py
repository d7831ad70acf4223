"""What became of the messages that were sent: one row for each and recipient."""

import json
from dataclasses import dataclass

from xmpp_onion.store.database import Database
from xmpp_onion.store.rows import reading

# At a hundred messages a day this reaches back three months, in about 3 MB.
DELIVERY_LIMIT = 10_000
# As many of those that came no further than to our server: an error may come back
# for them yet, hours after a bot has told ten thousand people something.
ACKED_LIMIT = 10 * DELIVERY_LIMIT


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """How far one message has come.

    Attributes:
        message_id: Its id.
        to: The recipient's bare address.
        devices: How many devices it was encrypted for.
        text_only: How many of them got nothing but the text.
        skipped: The devices that were left out.
        state: The word for how far it has come.
        reason: Why it failed; empty otherwise.
    """

    message_id: str
    to: str
    devices: int
    text_only: int
    skipped: tuple[str, ...]
    state: str
    reason: str = ""


class DeliveryRows:
    """The newest rows; the oldest are forgotten, but none that waits to be sent.

    Args:
        database: Where they are kept.
        limit: How many are kept.
        acked_limit: How many that the server has, and nobody said more about.
    """

    def __init__(
        self,
        database: Database,
        *,
        limit: int = DELIVERY_LIMIT,
        acked_limit: int = ACKED_LIMIT,
    ) -> None:
        self._database = database
        self._limit = limit
        self._acked_limit = acked_limit

    async def add(self, row: DeliveryRow) -> None:
        """Keep a row.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "INSERT INTO deliveries (message_id, recipient, devices, text_only, "
            "skipped, state, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                row.message_id,
                row.to,
                row.devices,
                row.text_only,
                json.dumps(row.skipped),
                row.state,
                row.reason,
            ),
        )
        for condition, limit in (
            ("state NOT IN ('queued', 'acked')", self._limit),
            ("state = 'acked'", self._acked_limit),
        ):
            await self._database.execute(
                f"DELETE FROM deliveries WHERE {condition} "  # noqa: S608 - two constants
                "AND id <= (SELECT max(id) FROM deliveries) - ?",
                (limit,),
            )

    async def load(self, message_id: str, to: str = "") -> DeliveryRow | None:
        """Return the row of a message; None if it is unknown or forgotten.

        Args:
            message_id: Its id.
            to: The recipient it has to be for; empty takes any.
        """
        rows = await self._database.fetch(
            "SELECT * FROM deliveries WHERE message_id = ? AND ? IN ('', recipient)",
            (message_id, to),
        )
        if not rows:
            return None
        row = rows[0]
        with reading(self._database.path, "deliveries"):
            return DeliveryRow(
                message_id=row["message_id"],
                to=row["recipient"],
                devices=row["devices"],
                text_only=row["text_only"],
                skipped=tuple(json.loads(row["skipped"])),
                state=row["state"],
                reason=row["reason"],
            )

    async def advance(self, message_id: str, to: str, change: tuple[str, str]) -> None:
        """Set a state where another one is; a message that has none is no error.

        Nothing is read for it.

        Args:
            message_id: Its id.
            to: The recipient's bare address.
            change: The words for the state that it has to have, and for the new one.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        before, after = change
        await self._database.execute(
            "UPDATE deliveries SET state = ? "
            "WHERE message_id = ? AND recipient = ? AND state = ?",
            (after, message_id, to, before),
        )

    async def set(self, row: DeliveryRow) -> None:
        """Note what has become of a message that has a row.

        Raises:
            RuntimeError: Not inside a transaction.
        """
        await self._database.execute(
            "UPDATE deliveries SET devices = ?, skipped = ?, state = ?, reason = ? "
            "WHERE message_id = ? AND recipient = ?",
            (
                row.devices,
                json.dumps(row.skipped),
                row.state,
                row.reason,
                row.message_id,
                row.to,
            ),
        )
