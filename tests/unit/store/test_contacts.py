import pytest

from xmpp_onion.store import ContactRow, Contacts, Database

ALICE = ContactRow("alice@x.onion", "both", ask=False)
BOB = ContactRow("bob@x.onion", "none", ask=True)


async def test_contacts_are_kept_changed_and_removed(database: Database) -> None:
    contacts = Contacts(database)
    async with database.transaction():
        await contacts.put([ALICE, BOB])
    async with database.transaction():
        await contacts.put([ContactRow(BOB.jid, "to", ask=False)])
        await contacts.remove([ALICE.jid])

    assert await Contacts(database).all() == {
        BOB.jid: ContactRow(BOB.jid, "to", ask=False)
    }


async def test_who_only_stands_on_the_list_is_no_contact(database: Database) -> None:
    contacts = Contacts(database)
    async with database.transaction():
        await contacts.put([ALICE, BOB, ContactRow("eve@x.onion", "none", ask=False)])

    assert await contacts.is_contact(ALICE.jid)
    assert await contacts.is_contact(BOB.jid)
    assert not await contacts.is_contact("eve@x.onion")
    assert not await contacts.is_contact("mallory@x.onion")


async def test_what_was_undone_is_not_remembered(database: Database) -> None:
    contacts = Contacts(database)

    async def fail() -> None:
        async with database.transaction():
            await contacts.put([ALICE])
            assert await contacts.is_contact(ALICE.jid)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()

    assert not await contacts.is_contact(ALICE.jid)
