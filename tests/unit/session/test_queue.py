import asyncio
import xml.etree.ElementTree as ET

import pytest

from xmpp_onion.address import JID
from xmpp_onion.errors import SessionLostError
from xmpp_onion.session.events import (
    Connected,
    Disconnected,
    Received,
    SubscriptionRequest,
)
from xmpp_onion.session.queue import EventQueue, Ticket

SOMEBODY = JID("bob@2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion")


def make() -> tuple[EventQueue, list[Ticket], list[int]]:
    settled: list[Ticket] = []
    lengths: list[int] = []
    queue = EventQueue(settled.append, lambda: lengths.append(len(queue)))
    return queue, settled, lengths


async def test_events_come_in_order_and_count_when_the_next_is_asked_for() -> None:
    queue, settled, lengths = make()
    queue.put(Connected(resumed=False))
    queue.put(SubscriptionRequest(SOMEBODY), (0, 1))
    assert await queue.get() == Connected(resumed=False)
    assert await queue.get() == SubscriptionRequest(SOMEBODY)
    assert settled == []
    queue.close(None)
    assert await queue.get() is None
    assert settled == [(0, 1)]
    assert lengths == [1, 2, 1, 0]


async def test_it_knows_how_much_memory_waits() -> None:
    queue, _, _ = make()
    queue.put(SubscriptionRequest(SOMEBODY), (0, 1), 30)
    queue.put(Connected(resumed=False))
    queue.put(SubscriptionRequest(SOMEBODY), (0, 2), 12)
    assert queue.size_bytes == 42
    await queue.get()
    assert queue.size_bytes == 12
    queue.drop_stanzas()
    assert queue.size_bytes == 0


async def test_a_waiting_reader_is_woken() -> None:
    queue, _, _ = make()
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put(Disconnected("x"))
    assert reader.result() == Disconnected("x")


async def test_the_error_comes_after_what_is_there_and_again_each_time() -> None:
    queue, _, _ = make()
    queue.put(Disconnected("x"))
    queue.close(SessionLostError("over"))
    assert await queue.get() == Disconnected("x")
    for _ in range(2):
        with pytest.raises(SessionLostError):
            await queue.get()


async def test_stanzas_that_come_again_are_left_out_and_the_rest_stays() -> None:
    queue, settled, _ = make()
    queue.put(SubscriptionRequest(SOMEBODY), (0, 1))
    queue.put(Disconnected("x"))
    queue.drop_stanzas()
    assert await queue.get() == Disconnected("x")
    assert settled == []


async def test_a_cancelled_reader_loses_no_event() -> None:
    queue, _, _ = make()
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put(Disconnected("x"))
        reader.cancel()
    assert len(queue) == 1


async def test_an_event_is_held_until_its_reader_is_done_with_it() -> None:
    queue = EventQueue(lambda _: None, lambda: None)
    request = SubscriptionRequest(SOMEBODY)
    assert not queue.holds(request)

    queue.put(request)
    queue.put(Connected(resumed=False))
    assert queue.holds(request)
    assert await queue.get() == request
    assert queue.holds(request)
    await queue.get()
    assert not queue.holds(request)


async def test_nothing_overtakes_the_end_of_a_connection() -> None:
    queue, _, _ = make()
    queue.put(SubscriptionRequest(SOMEBODY), (0, 1), lane="far")
    queue.put(Disconnected("x"))
    queue.put(Connected(resumed=False))

    assert await queue.get() == SubscriptionRequest(SOMEBODY)
    assert await queue.get() == Disconnected("x")


async def test_a_message_says_whether_it_has_overtaken_another() -> None:
    queue, _, _ = make()
    message = Received(ET.Element("{jabber:client}message"))
    queue.put(message, (0, 1), 10, lane="far")
    queue.put(message, (0, 2), 1)
    assert (queue.near.length, queue.near.size_bytes) == (1, 1)
    assert (queue.far.length, queue.far.size_bytes) == (1, 10)

    first, second = await queue.get(), await queue.get()

    assert isinstance(first, Received)
    assert isinstance(second, Received)
    assert (first.is_early, second.is_early) == (True, False)
