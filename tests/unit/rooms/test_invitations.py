"""Invitations: a box with a bottom, for contacts alone."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.rooms import Invitations
from xmpp_onion.session import Invitation
from xmpp_onion.store import INVITATION_LIMIT, Database, Inbox

ONION = OnionAddress.from_public_key(hashlib.sha256(b"a server").digest())
ALICE = JID(f"alice@{ONION}")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "store.db") as opened:
        yield opened


async def _is_contact(jid: str) -> bool:
    return not jid.startswith("stranger")


def invitation(number: int, inviter: JID = ALICE) -> Invitation:
    return Invitation(JID(f"room{number}@muc.{ONION}"), inviter, is_direct=False)


@pytest.fixture
def box(database: Database) -> Invitations:
    return Invitations(database, _is_contact, news=asyncio.Event())


async def test_who_is_no_contact_costs_nothing(
    database: Database, box: Invitations
) -> None:
    before = await database.generation()
    await box.take(invitation(1, JID(f"stranger@{ONION}")))

    assert await box.all() == ()
    assert await database.generation() == before


async def test_an_invitation_is_told_once(database: Database, box: Invitations) -> None:
    for inviter in ("alice", "bob", "alice"):
        await box.take(invitation(1, JID(f"{inviter}@{ONION}")))

    (waiting,) = await box.all()
    assert waiting.who == ALICE
    assert len(await Inbox(database).pending(limit=10)) == 1


async def test_nobody_fills_the_box_alone_and_it_has_a_bottom(
    database: Database, box: Invitations
) -> None:
    for number in range(INVITATION_LIMIT):
        await box.take(invitation(number))
    alone = len(await box.all())
    for number in range(INVITATION_LIMIT * 2):
        await box.take(invitation(1000 + number, JID(f"c{number}@{ONION}")))

    assert alone < INVITATION_LIMIT
    assert len(await box.all()) == INVITATION_LIMIT
    told = await Inbox(database).pending(limit=1000)
    assert len(told) == INVITATION_LIMIT


async def test_what_is_refused_makes_room(box: Invitations) -> None:
    await box.take(invitation(1))
    await box.refuse(invitation(1).room)

    assert await box.all() == ()
