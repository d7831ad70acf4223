"""The outbox: order, the same bytes, and jobs that are not forgotten."""

from datetime import UTC

from xmpp_onion.store import Database, Outbox


async def test_stanzas_come_back_in_order_and_as_they_went_in(
    database: Database,
) -> None:
    outbox = Outbox(database)
    stanzas = ["<message id='1'>\N{SNOWMAN}</message>", "<message/>\r\n", "", "\0"]

    async with database.transaction():
        for number, stanza in enumerate(stanzas):
            await outbox.add(stanza, to="bob@onion", message_id=str(number))

    pending = await outbox.pending()
    assert [row.stanza_xml for row in pending] == stanzas
    assert [row.message_id for row in pending] == ["0", "1", "2", "3"]
    assert {row.to for row in pending} == {"bob@onion"}
    assert {row.added_at.tzinfo for row in pending} == {UTC}


async def test_an_acknowledged_stanza_goes_and_its_id_does_not_come_back(
    database: Database,
) -> None:
    outbox = Outbox(database)
    async with database.transaction():
        first = await outbox.add("<message/>", to="bob", message_id="1")

    async with database.transaction():
        await outbox.remove(first)
        await outbox.remove(first)
        second = await outbox.add("<message/>", to="bob", message_id="2")

    assert second > first
    assert [row.id for row in await outbox.pending()] == [second]


async def test_there_is_one_job_of_each_kind_and_payload(database: Database) -> None:
    outbox = Outbox(database)

    async with database.transaction():
        for kind, payload in [("upload", "a"), ("upload", "b"), ("upload", "a")]:
            await outbox.add_job(kind, payload)

    jobs = await outbox.jobs()
    assert [(job.kind, job.payload) for job in jobs] == [
        ("upload", "b"),
        ("upload", "a"),
    ]


async def test_a_job_asked_for_while_it_runs_is_not_forgotten_with_it(
    database: Database,
) -> None:
    outbox = Outbox(database)
    async with database.transaction():
        running = await outbox.add_job("upload", "bundle")

    async with database.transaction():
        again = await outbox.add_job("upload", "bundle")
    async with database.transaction():
        await outbox.remove_job(running)

    assert [job.id for job in await outbox.jobs()] == [again]


async def test_a_part_of_what_waits_can_be_had(database: Database) -> None:
    outbox = Outbox(database)
    async with database.transaction():
        ids = [await outbox.add("", to="bob", message_id=str(n)) for n in range(5)]

    part = await outbox.pending(after=ids[1], limit=2)

    assert [row.id for row in part] == ids[2:4]


async def test_a_stanza_is_told_from_others_of_its_message(database: Database) -> None:
    outbox = Outbox(database)
    async with database.transaction():
        for message_id, to in [("a", "x"), ("b", "x"), ("b", "x"), ("b", "y")]:
            await outbox.add("<message/>", to=to, message_id=message_id)

    rows = await outbox.pending()

    assert [await outbox.has_others(row) for row in rows] == [False, True, True, False]
