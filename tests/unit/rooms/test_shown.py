"""Who was shown what, as members say: told once, of each, and of our own alone."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import DeliveryState, Receipt, read_event
from xmpp_onion.rooms import Shown
from xmpp_onion.store import Database, DeliveryRow, DeliveryRows, Inbox

ONION = OnionAddress.from_public_key(bytes(32))
BOB, CAROL = JID(f"bob@{ONION}/phone"), JID(f"carol@{ONION}")
ROOM = JID(f"friends@muc.{ONION}")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


async def test_a_flood_of_marks_is_one_event_for_each_message_of_ours(
    tmp_path: Path,
) -> None:
    news = asyncio.Event()
    async with Database.open(tmp_path / "store.db") as database:
        shown = Shown(database, news=news)
        async with database.transaction():
            for number in ("1", "2"):
                row = DeliveryRow(number, ROOM, 1, 0, (), "received")
                await DeliveryRows(database).add(row)
            await shown.take(ROOM, BOB, "unknown", NOW)
            assert not news.is_set()
            for _ in range(100):
                for number in ("2", "1", "unknown"):
                    await shown.take(ROOM, BOB, number, NOW)
            await shown.take(ROOM, CAROL, "1", NOW)
        rows = await Inbox(database).pending()
        told = [read_event(row.event_json) for row in rows]

        assert news.is_set()
        assert told == [
            Receipt(
                id=number,
                sender=who.bare,
                room=ROOM,
                state=DeliveryState.DISPLAYED,
                authenticated=True,
                at=NOW,
            )
            for number, who in (("2", BOB), ("1", CAROL))
        ]
        assert await shown.who(ROOM, "1") == (BOB.bare, CAROL)
        assert await shown.who(ROOM, "2") == (BOB.bare,)
