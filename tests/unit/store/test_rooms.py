from datetime import UTC, datetime

from xmpp_onion.store import Database, MemberRow, RoomRow, Rooms

ROOM = "friends@muc.x.onion"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


async def test_a_room_is_kept_with_its_members_until_we_leave(
    database: Database,
) -> None:
    rooms = Rooms(database)
    async with database.transaction():
        await rooms.put(RoomRow(ROOM, "me"))
        await rooms.put_members(ROOM, [MemberRow("a@x.onion", "owner")])
        await rooms.put_members("other", [MemberRow("b@x.onion", "member")])
    assert await rooms.all() == [RoomRow(ROOM, "me")]
    assert await rooms.members(ROOM) == [MemberRow("a@x.onion", "owner")]

    async with database.transaction():
        await rooms.remove(ROOM)
    assert await rooms.load(ROOM) is None
    assert await rooms.members(ROOM) == []
    assert len(await rooms.members("other")) == 1


async def test_what_a_room_is_now_takes_the_place_of_what_it_was(
    database: Database,
) -> None:
    rooms, now = Rooms(database), RoomRow(ROOM, "me", strict=True, known=True)
    async with database.transaction():
        await rooms.put(RoomRow(ROOM, "me"))
        await rooms.put(now)
        await rooms.put_members(
            ROOM, [MemberRow("a@x.onion", "owner"), MemberRow("b@x.onion", "member")]
        )
        await rooms.put_members(ROOM, [MemberRow("a@x.onion", "admin", accepted=False)])
        await rooms.remove_members(ROOM, ["b@x.onion"])

    assert await rooms.load(ROOM) == now
    assert await rooms.members(ROOM) == [
        MemberRow("a@x.onion", "admin", accepted=False)
    ]


async def test_a_second_invitation_into_a_room_changes_nothing(
    database: Database,
) -> None:
    rooms = Rooms(database)
    async with database.transaction():
        await rooms.add_invitation(ROOM, "a@x.onion", NOW)
        await rooms.add_invitation(ROOM, "b@x.onion", NOW)
    assert [row.inviter for row in await rooms.invitations()] == ["a@x.onion"]

    async with database.transaction():
        await rooms.remove_invitation(ROOM)
    assert await rooms.invitations() == []
