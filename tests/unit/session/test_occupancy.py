"""A room as we see it: who is in, who is a member, and whether it is private."""

from xmpp_onion.address import JID, OnionAddress
from xmpp_onion.chat import Affiliation, Role, RoomChange, RoomState
from xmpp_onion.session import (
    AffiliationList,
    Configuration,
    Occupancy,
    RoomPresence,
    RoomSignal,
    Status,
)
from xmpp_onion.session.muc import LIST_LIMIT
from xmpp_onion.session.occupancy import OCCUPANT_LIMIT

ONION = OnionAddress.from_public_key(bytes(32))
ROOM = JID(f"friends@muc.{ONION}")
ALICE, BOB, EVE = (JID(f"{name}@{ONION}") for name in ("alice", "bob", "eve"))
PRIVATE = Configuration(is_members_only=True, is_non_anonymous=True)
MEMBERS: AffiliationList = ((ALICE, Affiliation.OWNER), (BOB, Affiliation.MEMBER))


def here(
    jid: JID,
    nick: str = "",
    *codes: int,
    affiliation: Affiliation = Affiliation.MEMBER,
) -> RoomPresence:
    return RoomPresence(
        ROOM,
        nick or jid.local,
        is_there=True,
        jid=jid,
        affiliation=affiliation,
        role=Role.PARTICIPANT,
        codes=frozenset(codes),
    )


def gone(
    jid: JID, nick: str = "", *codes: int, new_nick: str = "", by: JID | None = None
) -> RoomPresence:
    return RoomPresence(
        ROOM,
        nick or jid.local,
        is_there=False,
        jid=jid,
        codes=frozenset(codes),
        new_nick=new_nick,
        by=by,
    )


def entered(members: AffiliationList | None = MEMBERS) -> Occupancy:
    """A room that alice has come into, and has read."""
    room = Occupancy(ROOM, "alice", own=ALICE)
    epoch = room.begin_reading()
    room.take_presence(here(BOB))
    room.take_presence(here(ALICE, "alice", 110, affiliation=Affiliation.OWNER))
    assert room.take_reading(epoch, PRIVATE, members)
    return room


def why(room: Occupancy) -> str:
    state: RoomState = room.state()
    assert state.is_private == (not state.why)
    return state.why


def test_a_room_is_private_when_it_was_read_and_not_before() -> None:
    room = Occupancy(ROOM, "alice", own=ALICE)
    assert why(room)
    epoch = room.begin_reading()
    room.take_presence(here(ALICE, "alice", 110))
    assert why(room)
    room.take_reading(epoch, PRIVATE, MEMBERS)
    assert not why(room)


def test_who_was_there_before_us_is_no_news() -> None:
    room = Occupancy(ROOM, "alice", own=ALICE)

    assert room.take_presence(here(BOB)) == []
    assert room.state().occupants["bob"].jid == BOB


def test_each_status_that_the_configuration_changed_stops_it_until_it_is_read() -> None:
    for code in (104, 170, 171, 172, 173, 174):
        room = entered()
        room.take_signal(RoomSignal(ROOM, frozenset({code})))
        assert why(room)
        room.take_reading(room.begin_reading(), PRIVATE, MEMBERS)
        assert not why(room)


def test_what_was_asked_before_a_change_does_not_count() -> None:
    room = entered()
    room.take_signal(RoomSignal(ROOM, frozenset({104})))
    epoch = room.begin_reading()
    room.take_signal(RoomSignal(ROOM, frozenset({104})))

    assert not room.take_reading(epoch, PRIVATE, MEMBERS)
    assert why(room)


def test_a_presence_with_a_change_of_the_configuration_stops_it_too() -> None:
    room = entered()
    room.take_presence(here(BOB, "bob", 172))

    assert why(room)


def test_a_room_that_keeps_its_members_to_itself_is_not_private() -> None:
    assert why(entered(members=None)) == "it does not tell who its members are"


def test_a_room_with_a_whole_server_in_it_is_not_private() -> None:
    everybody = (*MEMBERS, (JID(ONION), Affiliation.MEMBER))

    assert "whole server" in why(entered(everybody))


def test_a_room_with_too_many_members_is_not_private() -> None:
    many = tuple(
        (JID(f"m{index}@{ONION}"), Affiliation.MEMBER)
        for index in range(LIST_LIMIT + 1)
    )

    assert "more than" in why(entered(many))


def test_outcasts_and_people_without_affiliation_are_no_members() -> None:
    room = entered()
    changes = room.take_signal(
        RoomSignal(
            ROOM, affiliations=((BOB, Affiliation.OUTCAST), (EVE, Affiliation.NONE))
        )
    )

    assert set(room.state().members) == {ALICE}
    assert [(c.who, c.affiliation) for c in changes] == [(BOB, Affiliation.OUTCAST)]


def test_what_the_room_says_while_it_is_read_counts_more_than_the_answer() -> None:
    room = entered()
    epoch = room.begin_reading()
    room.take_signal(RoomSignal(ROOM, affiliations=((BOB, Affiliation.NONE),)))
    room.take_reading(epoch, PRIVATE, MEMBERS)

    assert BOB not in room.state().members


def test_somebody_who_takes_a_nick_that_was_anothers_is_somebody_else() -> None:
    room = entered()
    room.take_presence(gone(BOB))
    changes = room.take_presence(here(EVE, "bob"))

    assert room.state().occupants["bob"].jid == EVE
    assert changes[0].change is RoomChange.JOINED
    assert changes[0].who == EVE


def test_a_nick_that_changes_its_owner_without_a_word_is_a_going_and_a_coming() -> None:
    changes = entered().take_presence(here(EVE, "bob"))

    assert [(c.change, c.who) for c in changes[:2]] == [
        (RoomChange.LEFT, BOB),
        (RoomChange.JOINED, EVE),
    ]


def test_a_new_nick_is_the_same_person() -> None:
    room = entered()
    moved = room.take_presence(gone(BOB, "bob", Status.NICK_CHANGED, new_nick="robert"))
    changes = room.take_presence(here(BOB, "robert"))

    assert moved == changes == []
    assert set(room.state().occupants) == {"alice", "robert"}


def test_our_own_nick_is_what_the_room_made_of_it() -> None:
    room = Occupancy(ROOM, "alice", own=ALICE)
    room.take_presence(here(ALICE, "alice_", 110, 210))

    assert room.state().nick == "alice_"


def test_we_are_out_when_the_room_says_so_and_learn_why() -> None:
    for code, words in (
        (Status.KICKED, "thrown out"),
        (Status.BANNED, "banned"),
        (Status.AFFILIATION_LOST, "no member"),
        (Status.MEMBERS_ONLY, "no member"),
    ):
        room = entered()
        changes = room.take_presence(gone(ALICE, "alice", 110, code, by=BOB))
        out = changes[-1]
        assert out.change is RoomChange.REMOVED
        assert words in out.reason
        assert out.by == BOB
        assert not room.is_joined
        assert why(room)


def test_a_room_whose_server_goes_down_is_left_for_now_only() -> None:
    room = entered()
    changes = room.take_presence(gone(ALICE, "alice", 110, Status.SHUTDOWN))

    assert changes == []
    assert room.is_shut
    assert not room.is_joined


def test_more_occupants_than_a_room_can_have_are_not_kept() -> None:
    room = entered()
    for index in range(OCCUPANT_LIMIT + 100):
        room.take_presence(here(JID(f"m{index}@{ONION}")))

    assert len(room.state().occupants) == OCCUPANT_LIMIT


def test_a_flood_of_affiliations_makes_us_read_the_list_again() -> None:
    room = entered()
    for index in range(LIST_LIMIT + 1):
        jid = JID(f"m{index}@{ONION}")
        room.take_signal(RoomSignal(ROOM, affiliations=((jid, Affiliation.OUTCAST),)))

    assert room.is_stale
    assert set(room.state().members) == {ALICE, BOB}


def test_a_strict_room_waits_for_a_new_member_at_once_and_never_for_us() -> None:
    room = entered()
    room.accept([BOB])
    room.be_strict(strict=True)
    assert room.state().unaccepted == frozenset()
    room.take_signal(RoomSignal(ROOM, affiliations=((EVE, Affiliation.MEMBER),)))
    assert room.state().unaccepted == {EVE}
    room.accept([EVE])
    assert room.state().unaccepted == frozenset()


def test_who_was_taken_out_and_comes_back_has_to_be_accepted_anew() -> None:
    room = entered()
    room.accept([ALICE, BOB])
    room.be_strict(strict=True)
    for affiliation in (Affiliation.NONE, Affiliation.MEMBER):
        changed = RoomSignal(ROOM, affiliations=((BOB, affiliation),))
        room.take_signal(changed)
    assert room.state().unaccepted == {BOB}

    room.accept([BOB])
    for members in (((ALICE, Affiliation.OWNER),), MEMBERS):
        assert room.take_reading(room.begin_reading(), PRIVATE, members)
    assert room.state().unaccepted == {BOB}


def test_who_was_taken_out_while_we_were_away_has_to_be_accepted_anew() -> None:
    room = Occupancy(ROOM, "alice", own=ALICE, strict=True)
    room.accept([ALICE, BOB])  # as the disk had it
    for members in (((ALICE, Affiliation.OWNER),), MEMBERS):
        assert room.take_reading(room.begin_reading(), PRIVATE, members)

    assert room.state().unaccepted == {BOB}


def test_whom_we_let_in_is_accepted_though_a_list_without_them_comes_after() -> None:
    room = entered()
    room.accept([BOB])
    room.be_strict(strict=True)
    room.accept([EVE])  # asked for; the room has not done it yet
    for members in (MEMBERS, (*MEMBERS, (EVE, Affiliation.MEMBER))):
        assert room.take_reading(room.begin_reading(), PRIVATE, members)

    assert room.state().unaccepted == frozenset()


def test_a_fresh_session_is_not_in_and_knows_nothing_for_sure() -> None:
    room = entered()
    room.begin_anew()

    assert not room.state().is_joined
    assert room.state().occupants == {}
    assert why(room)
