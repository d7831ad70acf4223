"""What waits for a room: it goes when it may, in its order, to members alone."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import (
    Affiliation,
    Delivery,
    DeliveryState,
    RoomState,
)
from xmpp_onion.courier import Courier
from xmpp_onion.deliveries import Deliveries
from xmpp_onion.e2ee import (
    OMEMO_2,
    OMEMO_OLD,
    Device,
    Omemo,
    TrustLevel,
    reader_ids,
)
from xmpp_onion.errors import DeliveryFailedError
from xmpp_onion.room_post import joint
from xmpp_onion.rooms import RoomWatch
from xmpp_onion.session import Session, message_stanza, parse_sent
from xmpp_onion.store import Database, Inbox, Outbox

if TYPE_CHECKING:
    from xmpp_onion.rooms import Rooms

ONION = OnionAddress.from_public_key(bytes(32))
ALICE, BOB, CAROL = (JID(f"{name}@{ONION}") for name in ("alice", "bob", "carol"))
ROOM, OTHER = JID(f"friends@muc.{ONION}"), JID(f"others@muc.{ONION}")
# One of Carol's devices has the number of one of Bob's.
DEVICES = {BOB: (1, 2), CAROL: (2, 3), ALICE: (9,)}


def encrypted(readers: dict[JID, tuple[int, ...]]) -> list[ET.Element]:
    new = ET.Element(f"{{{OMEMO_2}}}encrypted")
    header = ET.SubElement(new, f"{{{OMEMO_2}}}header", {"sid": "8"})
    old = ET.Element(f"{{{OMEMO_OLD}}}encrypted")
    flat = ET.SubElement(old, f"{{{OMEMO_OLD}}}header", {"sid": "8"})
    for jid, ids in readers.items():
        keys = ET.SubElement(header, f"{{{OMEMO_2}}}keys", {"jid": jid})
        for number in ids:
            ET.SubElement(keys, f"{{{OMEMO_2}}}key", {"rid": str(number)})
            ET.SubElement(flat, f"{{{OMEMO_OLD}}}key", {"rid": str(number)})
    return [new, old]


class TheRooms:
    """Stands in for the rooms of an account; the test says how they are."""

    def __init__(self) -> None:
        self.states: dict[JID, RoomState] = {}
        self.changed = asyncio.Event()

    def state(self, room: JID) -> RoomState | None:
        return self.states.get(room)

    def put(
        self,
        room: JID = ROOM,
        members: Iterable[JID] = (ALICE, BOB, CAROL),
        *,
        joined: bool = True,
        private: bool = True,
        unaccepted: Iterable[JID] = (),
    ) -> None:
        self.states[room] = RoomState(
            jid=room,
            nick="al",
            is_joined=joined,
            is_private=private,
            members=dict.fromkeys(members, Affiliation.MEMBER),
            unaccepted=frozenset(unaccepted),
        )
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class TheLine:
    """Stands in for a session that has everything at once.

    Attributes:
        acks: What the test completes, one for each stanza; None has them at once.
    """

    jid = JID(f"{ALICE}/here")

    def __init__(self) -> None:
        self.sent: list[tuple[str, ET.Element]] = []
        self.acks: asyncio.Queue[asyncio.Future[None]] | None = None
        self.revised: list[tuple[str, str]] = []

    async def wait_online(self) -> None:
        """It always is."""

    def revise(self, xml: str, better: str) -> None:
        self.revised.append((xml, better))

    def send(self, xml: str, message_id: str) -> Awaitable[None]:
        self.sent.append((message_id, parse_sent(xml)))
        done = asyncio.get_running_loop().create_future()
        if self.acks is None:
            done.set_result(None)
        else:
            self.acks.put_nowait(done)
        return done


class NoOmemo:
    """Has no other devices and wants nothing from the network.

    Attributes:
        distrusted: Devices that the policy does not accept.
        has_changed: Whether the account's policy is another than before.
    """

    def __init__(self) -> None:
        self.distrusted: list[Device] = []
        self.has_changed = False

    async def devices(self, jid: JID) -> tuple[Device, ...]:
        del jid
        return ()

    async def refused(self, jid: JID) -> tuple[Device, ...]:
        return tuple(device for device in self.distrusted if device.jid == jid)

    @property
    def policies(self) -> "NoOmemo":
        return self

    @property
    def keyring(self) -> "NoOmemo":
        return self

    async def take_change(self) -> bool:
        return self.has_changed


class Desk:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = Outbox(database)
        self.deliveries = Deliveries(database)
        self.rooms, self.line, self.omemo = TheRooms(), TheLine(), NoOmemo()
        self.parts: list[asyncio.Future[None]] = []
        self.watch = RoomWatch(
            database, cast("Rooms", self.rooms), self.deliveries, own=ALICE
        )
        self.courier = Courier(
            database,
            self.outbox,
            cast("Session", self.line),
            cast("Omemo", self.omemo),
            deliveries=self.deliveries,
            watch=self.watch,
        )

    async def put(
        self,
        name: str,
        to: JID = ROOM,
        readers: dict[JID, tuple[int, ...]] | None = None,
    ) -> asyncio.Future[None]:
        return await self.put_parts(
            name, DEVICES if readers is None else readers, to=to
        )

    async def put_parts(
        self, name: str, *parts: dict[JID, tuple[int, ...]], to: JID = ROOM
    ) -> asyncio.Future[None]:
        """Put a message as it goes out when one stanza is too small for all keys."""
        devices = sum(len(ids) for readers in parts for ids in readers.values())
        delivery = Delivery(
            id=name, to=to, devices=devices, skipped=(), state=DeliveryState.QUEUED
        )
        row_ids = []
        async with self.database.transaction():
            for readers in parts:
                xml = message_stanza(
                    to, name, encrypted(readers), is_room=bool(readers)
                )
                row_ids.append(
                    await self.outbox.add(
                        xml, to=to, message_id=name, readers={**readers} or None
                    )
                )
            await self.deliveries.begin(delivery)
        self.courier.wake()
        self.parts = [self.courier.expect(row_id) for row_id in row_ids]
        return joint(self.parts)

    async def delivery(self, name: str) -> Delivery:
        delivery = await self.deliveries.load(name)
        assert delivery is not None
        return delivery

    async def review(self, *refused: Device, whose: JID | None = None) -> None:
        """Have a policy refuse some devices from now on."""
        self.omemo.distrusted, self.omemo.has_changed = [*refused], True
        async with self.database.transaction():
            await self.courier.review(whose)

    async def give_up(self, name: str) -> None:
        """Have the time of a message be over."""
        async with self.database.transaction():
            rows = await self.outbox.pending()
            parts = [row for row in rows if row.message_id == name]
            for row in parts:
                await self.courier.give_up(row)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.line.sent]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Database.open(tmp_path / "account" / "store.db") as database:
        desk = Desk(database)
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(desk.courier.run())
            desk.courier.open()
            yield desk
            work.cancel()


async def test_what_waits_for_one_room_holds_up_nobody_else(desk: Desk) -> None:
    desk.rooms.put(private=False)
    desk.rooms.put(OTHER)
    waiting = [await desk.put("one"), await desk.put("two")]

    await (await desk.put("elsewhere", OTHER))
    await (await desk.put("to bob", BOB, {}))

    assert desk.names == ["elsewhere", "to bob"]
    desk.rooms.put()
    for each in waiting:
        await each
    assert desk.names == ["elsewhere", "to bob", "one", "two"]


@pytest.mark.parametrize(
    "is_so", [{"joined": False}, {"private": False}, {"unaccepted": [CAROL]}]
)
async def test_nothing_goes_to_a_room_that_is_not_as_it_should_be(
    desk: Desk, is_so: dict[str, bool]
) -> None:
    desk.rooms.put(**is_so)  # type: ignore[arg-type] # one of its three
    waiting = await desk.put("one")
    await (await desk.put("to bob", BOB, {}))

    assert desk.names == ["to bob"]
    desk.rooms.put()
    await waiting
    assert desk.names == ["to bob", "one"]


async def test_order_stays_when_somebody_was_taken_out_meanwhile(desk: Desk) -> None:
    desk.rooms.put(joined=False)
    names = [str(number) for number in range(6)]
    for name in names[:3]:
        await desk.put(name)
    without = {BOB: DEVICES[BOB], ALICE: DEVICES[ALICE]}
    desk.rooms.put(members=(ALICE, BOB), joined=False)
    for name in names[3:]:
        last = await desk.put(name, readers=without)

    desk.rooms.put(members=(ALICE, BOB))
    await last

    assert desk.names == names


async def test_the_keys_of_who_was_taken_out_go_in_both_versions(desk: Desk) -> None:
    desk.rooms.put(members=(ALICE, BOB))

    await (await desk.put("one"))

    [(_, stanza)] = desk.line.sent
    new = stanza.find(f"{{{OMEMO_2}}}encrypted")
    old = stanza.find(f"{{{OMEMO_OLD}}}encrypted")
    assert new is not None
    assert old is not None
    assert {
        keys.get("jid") for keys in new.iter(f"{{{OMEMO_2}}}keys") if len(keys)
    } == {
        BOB,
        ALICE,
    }
    assert reader_ids([new]) == {1, 2, 9}
    # The older version does not say whose a key is: that of Bob's twin goes, too.
    assert reader_ids([old]) == {1, 9}
    delivery = await desk.deliveries.load("one")
    assert delivery is not None
    assert (delivery.skipped, delivery.devices) == ((CAROL,), 3)


async def test_who_comes_meanwhile_gets_no_key_and_takes_none(desk: Desk) -> None:
    dave = JID(f"dave@{ONION}")
    desk.rooms.put(members=(ALICE, BOB, CAROL, dave))

    await (await desk.put("one"))

    [(_, stanza)] = desk.line.sent
    assert reader_ids(stanza.findall("{*}encrypted")) == {1, 2, 3, 9}


async def test_what_has_no_reader_left_fails(desk: Desk) -> None:
    desk.rooms.put(members=(ALICE,))

    with pytest.raises(DeliveryFailedError):
        await (await desk.put("one"))

    assert desk.names == []
    assert await desk.outbox.pending() == []
    delivery = await desk.deliveries.load("one")
    assert delivery is not None
    assert delivery.state is DeliveryState.FAILED


async def test_what_waited_for_a_room_that_we_left_fails(desk: Desk) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put("one")
    await (await desk.put("to bob", BOB, {}))

    del desk.rooms.states[ROOM]
    desk.rooms.put(OTHER)

    with pytest.raises(DeliveryFailedError):
        await waiting
    assert desk.names == ["to bob"]


# --- devices that are not accepted any more ------------------------------------------


def device(jid: JID, number: int) -> Device:
    return Device(
        jid,
        number,
        f"{number:064x}",
        TrustLevel.DISTRUSTED,
        active=True,
        own=jid == ALICE,
    )


def keys_in(stanza: ET.Element) -> tuple[dict[str, set[int]], set[int]]:
    """Return whose keys a stanza has in the newer version, and those of the older."""
    [new, old] = stanza.findall("{*}encrypted")
    groups = new.iter(f"{{{OMEMO_2}}}keys")
    named = {
        str(group.get("jid")): {int(str(key.get("rid"))) for key in group}
        for group in groups
        if len(group)
    }
    return named, set(reader_ids([old]))


@pytest.mark.parametrize("whose", [None, CAROL], ids=["account", "contact"])
async def test_a_device_that_is_refused_is_taken_out_of_what_waits_for_a_room(
    desk: Desk, whose: JID | None
) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put("one")

    await desk.review(device(CAROL, 3), device(CAROL, 77), whose=whose)
    desk.rooms.put()
    await waiting

    [(_, stanza)] = desk.line.sent
    named, older = keys_in(stanza)
    assert named == {BOB: {1, 2}, CAROL: {2}, ALICE: {9}}
    assert older == {1, 2, 9}
    delivery = await desk.deliveries.load("one")
    assert delivery is not None
    assert (delivery.skipped, delivery.devices) == ((f"{CAROL} {3:064x}",), 4)


async def test_whose_last_device_is_refused_is_named_and_the_outbox_knows_it(
    desk: Desk,
) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put("one")

    await desk.review(device(CAROL, 2), device(CAROL, 3))

    [row] = await desk.outbox.pending()
    assert row.readers == {BOB: (1, 2), ALICE: (9,)}
    # The older version does not say whose a key is: that of Bob's twin goes, too.
    assert keys_in(parse_sent(row.stanza_xml))[1] == {1, 9}
    assert await desk.outbox.recipients() == {ROOM, BOB, ALICE}
    desk.rooms.put(members=(ALICE, BOB))
    await waiting
    delivery = await desk.deliveries.load("one")
    assert delivery is not None
    assert delivery.skipped == (f"{CAROL} {2:064x}", CAROL)
    assert delivery.devices == 3


async def test_what_only_our_own_devices_could_still_read_fails(desk: Desk) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put("one", readers={BOB: (1,), ALICE: (9,)})

    await desk.review(device(BOB, 1))

    with pytest.raises(DeliveryFailedError):
        await waiting
    assert await desk.outbox.pending() == []
    delivery = await desk.deliveries.load("one")
    assert delivery is not None
    assert delivery.state is DeliveryState.FAILED
    assert [better for _, better in desk.line.revised] == [""]


async def test_a_device_of_ours_that_is_refused_is_taken_out_as_well(
    desk: Desk,
) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put("one")

    await desk.review(device(ALICE, 9))
    desk.rooms.put()
    await waiting

    [(_, stanza)] = desk.line.sent
    assert keys_in(stanza) == ({BOB: {1, 2}, CAROL: {2, 3}}, {1, 2, 3})


async def test_what_stood_in_line_meanwhile_goes_as_the_outbox_has_it_now(
    desk: Desk,
) -> None:
    desk.rooms.put(joined=False)
    await desk.put("one")
    [before] = await desk.outbox.pending()

    await desk.review(device(CAROL, 3))
    desk.rooms.put(members=(ALICE, CAROL))
    admitted = await desk.watch.admit(before)

    assert admitted is not None
    assert admitted.readers == {CAROL: (2,), ALICE: (9,)}
    assert keys_in(parse_sent(admitted.stanza_xml))[0] == {CAROL: {2}, ALICE: {9}}
    async with desk.database.transaction():
        await desk.outbox.remove(before.id)
    assert await desk.watch.admit(before) is None


# --- a message that goes out as several stanzas --------------------------------------


def readers_of(stanza: ET.Element) -> set[int]:
    return set(reader_ids(stanza.findall("{*}encrypted")))


@pytest.mark.parametrize("gone", [BOB, CAROL], ids=["first", "last"])
async def test_a_part_without_readers_fails_no_message_that_others_read(
    desk: Desk, gone: JID
) -> None:
    desk.rooms.put(members={ALICE, BOB, CAROL} - {gone})

    await (await desk.put_parts("one", {BOB: (1, 2)}, {CAROL: (3,)}))

    [(_, stanza)] = desk.line.sent
    assert readers_of(stanza) == ({3} if gone == BOB else {1, 2})
    delivery = await desk.delivery("one")
    assert delivery.state is DeliveryState.ACKED
    assert delivery.skipped == (gone,)
    assert delivery.devices == len(readers_of(stanza))


async def test_a_message_of_which_no_part_has_readers_fails_once(desk: Desk) -> None:
    desk.rooms.put(members=(ALICE,))

    with pytest.raises(DeliveryFailedError):
        await (await desk.put_parts("one", {BOB: (1, 2)}, {CAROL: (3,)}))

    assert desk.names == []
    assert (await desk.delivery("one")).state is DeliveryState.FAILED
    assert len(await Inbox(desk.database).pending()) == 1


async def test_a_message_is_with_the_server_when_its_last_part_is(desk: Desk) -> None:
    desk.rooms.put()
    acks: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    desk.line.acks = acks
    waiting = await desk.put_parts("one", {BOB: (1, 2)}, {CAROL: (3,)})
    first, last = await acks.get(), await acks.get()

    last.set_result(None)
    await desk.parts[1]

    assert not waiting.done()
    assert (await desk.delivery("one")).state is DeliveryState.QUEUED
    first.set_result(None)
    await waiting
    assert (await desk.delivery("one")).state is DeliveryState.ACKED


async def test_what_the_server_has_of_a_message_stays_said_when_the_rest_is_dropped(
    desk: Desk,
) -> None:
    desk.rooms.put()
    acks: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    desk.line.acks = acks
    waiting = await desk.put_parts("one", {BOB: (1, 2)}, {CAROL: (3,)})
    (await acks.get()).set_result(None)
    await desk.parts[0]

    await desk.review(device(CAROL, 3))

    await waiting
    delivery = await desk.delivery("one")
    assert delivery.state is DeliveryState.ACKED
    assert (delivery.skipped, delivery.devices) == ((CAROL,), 2)


async def test_what_the_server_has_of_a_message_stays_said_when_the_rest_is_too_late(
    desk: Desk,
) -> None:
    desk.rooms.put()
    acks: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    desk.line.acks = acks
    waiting = await desk.put_parts("one", {BOB: (1, 2)}, {CAROL: (3,)})
    (await acks.get()).set_result(None)
    await desk.parts[0]
    desk.courier.hold()  # the connection is gone, and Carol's part did not arrive

    await desk.give_up("one")

    await waiting
    delivery = await desk.delivery("one")
    assert delivery.state is DeliveryState.ACKED
    assert (delivery.skipped, delivery.devices) == ((CAROL,), 2)
    assert await Inbox(desk.database).pending() == []


async def test_a_message_of_which_all_parts_are_too_late_fails_once(
    desk: Desk,
) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put_parts("one", {BOB: (1, 2)}, {CAROL: (3,)})

    await desk.give_up("one")
    desk.rooms.put()

    with pytest.raises(DeliveryFailedError, match="not sent"):
        await waiting
    assert desk.names == []
    assert (await desk.delivery("one")).state is DeliveryState.FAILED
    assert len(await Inbox(desk.database).pending()) == 1


async def test_a_part_for_our_own_devices_goes_where_others_read_another(
    desk: Desk,
) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put_parts("one", {BOB: (1,)}, {CAROL: (3,), ALICE: (9,)})

    await desk.review(device(CAROL, 3))
    desk.rooms.put()
    await waiting

    assert [readers_of(stanza) for _, stanza in desk.line.sent] == [{1}, {9}]
    assert (await desk.delivery("one")).state is DeliveryState.ACKED


async def test_nothing_goes_to_our_own_devices_alone(desk: Desk) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put_parts("one", {BOB: (1,)}, {ALICE: (9,)})

    await desk.review(device(BOB, 1))
    desk.rooms.put()

    with pytest.raises(DeliveryFailedError):
        await waiting
    assert desk.names == []
    assert (await desk.delivery("one")).state is DeliveryState.FAILED


async def test_who_has_another_device_in_another_part_is_not_named_as_left_out(
    desk: Desk,
) -> None:
    desk.rooms.put(joined=False)
    waiting = await desk.put_parts("one", {BOB: (1,)}, {BOB: (2,)})

    await desk.review(device(BOB, 2))
    desk.rooms.put()
    await waiting

    assert (await desk.delivery("one")).skipped == (f"{BOB} {2:064x}",)


async def test_who_is_taken_out_of_all_parts_is_named_once(desk: Desk) -> None:
    desk.rooms.put(members=(ALICE, CAROL))

    await (await desk.put_parts("one", {BOB: (1,), CAROL: (3,)}, {BOB: (2,)}))

    delivery = await desk.delivery("one")
    assert (delivery.skipped, delivery.devices) == ((BOB,), 1)


async def test_messages_beside_each_other_are_no_parts_of_one(desk: Desk) -> None:
    desk.rooms.put(members=(ALICE, CAROL))
    lost = await desk.put("one", readers={BOB: (1,)})
    await (await desk.put("two", readers={CAROL: (3,)}))

    with pytest.raises(DeliveryFailedError):
        await lost
    assert (await desk.delivery("one")).state is DeliveryState.FAILED
    assert (await desk.delivery("two")).state is DeliveryState.ACKED
