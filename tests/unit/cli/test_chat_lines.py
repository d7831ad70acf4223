import asyncio

from xmpp_onion.cli.chat_lines import Lines


async def test_lines_are_done_in_their_order_until_the_end() -> None:
    lines = Lines()
    lines.add("one")
    lines.add("two")
    lines.end()

    assert [await lines.next() for _ in range(3)] == ["one", "two", None]
    assert len(lines) == 0


async def test_a_line_counts_until_the_one_behind_it_is_asked_for() -> None:
    lines = Lines()
    lines.add("one")
    assert await lines.next() == "one"
    assert (len(lines), lines.in_hand) == (1, "one")

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(lines.next())
        await asyncio.sleep(0)
        assert len(lines) == 0
        lines.add("two")
        assert await asking == "two"


async def test_what_is_interrupted_is_told_apart_from_what_nobody_began_with() -> None:
    lines = Lines()
    for line in ("one", "two", "three"):
        lines.add(line)
    await lines.next()

    assert lines.interrupt() == "one"
    assert lines.interrupt() == ""
    assert lines.give_up() == ["two", "three"]
    assert len(lines) == 0
